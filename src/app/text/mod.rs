//! Text as questions and answers hold it.
