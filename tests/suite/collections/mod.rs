//! Objects that enter or leave a collection.
