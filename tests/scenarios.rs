//! Decisions as data: each file of `tests/scenarios/` tells a story and says what must come of it. [`quorate::scenario`] plays
//! it, as `quorate test` does for users; `docs/scenarios.md` describes the format.

use quorate::scenario::{Finding, NamedFile, play, read};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One test per file, so that a failure names its story; a file that is not listed fails `every_file_has_its_test`.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*
        const LISTED: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    attack01_no_initiator
    attack01_unproven_initiator
    attack06_service_account
    attack06_service_account_as_administrator
    attack08_alias
    attack08_requester_in_disguise
    attack08_second_vote_in_disguise
    attack09_one_person_two_groups
    attack10_empty_role
    attack11_removed_before_counting
    attack19_recreated_under_the_same_name
    attack26_sources_changed_after_the_start
    attack29_wrong_step
    attack30_replay
    attack31_one_person_both_ways
    attack32_terminal_outcome
    attack33_signal_after_expiry
    attack34_clock_goes_back
    attack34_clock_goes_forward
    attack35_delegate_and_principal
    attack35_delegation_loop
    attack35_loop_to_the_initiator
    attack38_pattern_bomb
    r01_graph_of_named_nodes
    r02_condition_guarantor_exists
    r02_condition_role_attribute
    r02_condition_role_criticality
    r02_criticality_branches_high
    r02_criticality_branches_low
    r02_expression
    r02_expression_fails
    r02_expression_over_the_directory
    r02_expression_yields_no_truth
    r02_fields_decide
    r02_identity_attribute_of_all_subjects
    r02_missing_operand
    r02_operators_on_text
    r02_type_mismatch
    r02_unknown_role
    r03_user
    r04_inactive_and_expired
    r04_role_hierarchy
    r05_guarantor_by_role
    r05_guarantor_of_the_role
    r05_guarantors_by_a_group_are_no_all
    r06_expression_fails_later
    r06_expression_of_approvers
    r06_expression_over_the_directory
    r06_expression_yields_no_list
    r06_permission
    r07_subjects_by_identity
    r07_cycle_of_managers
    r07_guarantor_of_the_subject
    r07_supervisor_of_the_approvers
    r07_supervisor_of_the_initiator
    r07_supervisor_of_the_subject
    r08_composition_of_a_role
    r09_expression_yields_nobody
    r09_fallback_to_administrators
    r09_initiator_is_the_only_approver
    r09_no_approvers_in_a_loop
    r09_no_guarantor
    r09_nobody_at_all
    r09_outcome_if_no_approvers
    r10_two_of_five
    r11_ejbca_worked_example
    r11_partitions_in_parallel
    r12_views_of_a_partition
    r13_refusals
    r14_what_the_supervisor_sees
    r16_gone_after_the_operation
    r16_no_operation
    r16_rejected_after_the_operation
    r16_rejected_before_the_operation
    r16_escalation_is_told
    r17_conditions_finish_on_their_definition
    r17_definition_comes_later
    r17_definition_edited_while_running
    r19_conditions
    r19_dangling_edge
    r19_duplicate_names
    r19_falling_into_an_end
    r19_fields
    r19_graph_as_a_whole
    r19_impossible_quorums
    r19_input_missing_process
    r19_input_missing_role
    r19_input_missing_subject
    r19_neither_or_both
    r19_notifications
    r19_notified_roles
    r19_outputs
    r19_quorum_of_a_group
    r19_quorum_of_a_role_with_groups
    r19_rejection_may_not_approve
    r19_sources
    r19_starts_with_an_end
    r19_time_limits
    r19_unknown_calendar
    r19_unknown_output
    r19_unknown_role
    r19_unknown_roles_anywhere
    r19_unknown_start
    r19_unreachable_nodes
    r20_all
    r20_percentage_rounds_up
    r20_percentages
    r20_reject_threshold
    r21_delegate_of_the_initiator
    r21_no_self_approval
    r21_one_person_two_groups
    r21_one_vote_across_partitions
    r21_self_approval_allowed
    r21_separate_from_across_visits
    r21_separate_from_leaves_nobody
    r22_business_days
    r22_calendar_is_gone
    r22_documented_example
    r22_escalation
    r22_expired
    r22_stall_ends_with_its_step
    r22_timeout_approves
    r22_timeout_rejects
    r23_chain
    r23_chain_of_limits
    r23_deeper_than_five
    r23_delegates_see_and_remark
    r23_depth
    r23_hand_over
    r23_hand_over_lapses_with_the_right
    r23_hand_over_of_an_open_source
    r23_hand_over_of_one_partition
    r23_handed_on
    r23_handed_on_five_times
    r23_limited_to_roles
    r23_not_for_open_sources
    r23_not_taken_back_by_who_is_out
    r23_one_vote_of_both
    r23_over_until
    r23_separated_delegate
    r23_standing_delegation
    r23_to_whom
    r23_two_delegations_to_one
    r31_no_owner
    r31_owner_is_asked
    r33_anyone_named_may_signal
    r34_all_in_one_second
    r35_gone_once_voted
    r39_why
    r39_why_it_does_not_move
    r51_before_anybody_decides
    r51_done
    r51_expression_fails
    r51_failed
    r51_faults
    r51_job
    r51_recorded_data_stays_hidden
    r51_retry
    r51_timed_out
    r51_tried_again
    r51_what_is_never_touched
    r53_add_approvers
    r53_own_request
    r53_reassign
    r53_restart
    r53_restart_that_lacks_input
    r53_restart_where_nothing_is_ready
    r53_retry
    r53_retry_from_before
    r53_stop
    r54_own_substitute
    r54_service_account
    rule02_groups_cannot_be_listed
    rule03_contested_identities
    rule03_excluded_approvers
    rule06_administrators_only_while_needed
    rule06_quorum_unreachable
    rule06_rejected_votes_are_no_approvals
    rule06_renamed_voter
    rule06_shrinking_directory
    rule07_approve_and_reject_same_second
    rule07_changes_while_running
    rule07_order_of_creation
    rule07_role_lost_afterwards
    rule08_max_signal_age
    rule09_superseded_siblings
    rule10_fields_to_reject
    rule11_ambiguous_partition
    rule11_double_click
    rule11_earlier_visit_signal
    rule11_late_signal_and_later_changes
    rule11_refused_within_the_second
    rule11_required_comment
    rule11_same_second_as_a_step_closed
    rule11_same_second_as_an_administrator
    rule11_same_second_with_a_partition
    rule11_too_many_visits
    rule11_visits_and_loops
    rule11_what_was_open_then
    rule12_cancel_by_right
    rule12_cancel_by_the_initiator
    rule12_comment
    rule12_held_is_stopped
    rule12_held_is_taken_back
    rule12_not_after_execution
    rule13_actions
    rule13_expired_leads_to_an_approval
    rule13_faults
    rule13_rejection_leads_to_another_step
    rule13_silence_warns
    rule14_all_subjects_and_stall
    rule15_broken_proof
    rule15_broken_proof_after_the_decision
    rule15_nothing_expires_unproven
    rule15_signed_in_time
    rule15_stalled_step_expires
    rule16_once_per_visit
    rule19_held_then_gone
    rule19_held_waits_at_execute
    rule19_held_without_execute
    rule26_object_gone
    rule28_barred_approver
    rule28_who_sees_what
    r52_who_is_told_what
    r52_substitutes_are_asked
    r52_restart_and_return
}

#[test]
fn every_file_has_its_test() {
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("tests/scenarios")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let listed: BTreeSet<String> = LISTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(files, listed, "files of tests/scenarios (left) and the list in tests/scenarios.rs (right)");
}

#[test]
fn the_documented_example_is_a_story() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
    let story = read("tests/scenarios/r22_documented_example.yaml");
    assert!(read("docs/scenarios.md").contains(&story), "docs/scenarios.md does not show this story:\n{story}");
}

/// Reads and plays one story.
fn run(name: &str) {
    let path = folder().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = |name: &str| {
        let text = std::fs::read_to_string(folder().join(name)).map_err(|error| format!("{name}: {error}"))?;
        Ok(vec![NamedFile { name: name.to_owned(), text }])
    };
    if let Err(findings) = read(&text, file).and_then(|scenario| play(&scenario)) {
        let findings: Vec<_> = findings.iter().map(Finding::to_string).collect();
        panic!("tests/scenarios/{name}.yaml:\n{}", findings.join("\n"));
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}
