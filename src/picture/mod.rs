//! Pictures: decoding within limits, Pillow-exact resizing, tiles as InternVL cuts them.
