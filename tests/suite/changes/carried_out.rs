//! In the name of the requester, or not.
