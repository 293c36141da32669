//! The networks in candle: vision tower, projector, decoder, cache, generation.
