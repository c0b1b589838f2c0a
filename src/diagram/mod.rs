//! stub
use crate::api::WorkflowInstanceStatus;
use crate::engine::graph::Graph;
/// stub
pub struct Drawing;
impl Drawing {
    /// stub
    #[must_use]
    pub fn of(_: &Graph, _: Option<&WorkflowInstanceStatus>) -> Self { Self }
}
/// stub
#[must_use]
pub fn mermaid(_: &Drawing) -> String { String::new() }
