//! Models that others serve: a client for any OpenAI-compatible endpoint, and the judge that uses one.
//!
//! An [`Address`] says where, a [`Key`] opens it and is never shown, an [`Endpoint`] asks: bounded in time and memory,
//! patient with a server that is busy, and with the server's own words where it refuses. An [`EndpointJudge`] is an
//! endpoint in the place of a [`Judge`](crate::scoring::judge::Judge); [`Endpoint::ask`] streams the answer to a question
//! of an evaluation, and [`Endpoint::health`] says what is served there.
//!
//! Proxies come from the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`); loopback is always reached directly.
//! Redirects are not followed, so a key goes only where the person sent it.

pub mod address;
pub mod client;
mod ending;
pub mod fault;
pub mod health;
pub mod judge;
pub mod key;
pub mod key_store;
pub mod sse;
pub mod stream;

pub use address::Address;
pub use client::{Completion, Endpoint, KeyHeader, Limits, Message, Usage};
pub use fault::{Cause, Fault};
pub use health::{Health, ServedModel};
pub use judge::{EndpointJudge, Price};
pub use key::Key;
pub use key_store::KeyStore;
pub use stream::Reply;
