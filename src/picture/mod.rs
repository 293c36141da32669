//! Pictures: decoding within limits, Pillow-exact resizing, tiles as InternVL cuts them.

pub mod decode;
pub mod resize;
pub mod send;
pub mod tiles;

pub use decode::{decode, dimensions};
pub use resize::{Filter, resize};
pub use send::{Sent, SentAs, send};
pub use tiles::{Grid, Tiles, Tiling};
