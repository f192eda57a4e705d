//! Benchmarks live in their targets; this crate has nothing else.
