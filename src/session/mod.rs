//! A session on disk: manifest, append-only journal of answers, resume.
