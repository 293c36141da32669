//! What a model folder holds, read without loading it.
