//! Tokenizers from `tokenizer.json`, from `vocab.json` and `merges.txt`, or from a sentencepiece model.
