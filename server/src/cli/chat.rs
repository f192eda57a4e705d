//! `quail chat`.
