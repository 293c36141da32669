//! The worker that answers questions: load, prepare, generate; commands in, events out.
