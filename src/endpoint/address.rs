//! Where an endpoint is, and whether it may be reached without encryption.

use std::net::{IpAddr, Ipv6Addr};

use ureq::http::Uri;

use crate::{Problem, Result};

/// The address of an OpenAI-compatible endpoint, up to and with `/v1` (or what stands there for it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    base: String,
    host: String,
    near: Near,
}

/// How far a host is, as far as its address tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Near {
    Loopback,
    Private,
    Elsewhere,
}

impl Address {
    /// Reads an address such as `http://localhost:8000` or `https://api.openai.com/v1`; `/v1` is added where the path
    /// names no version (`v1`, `v1beta`, `v4`).
    ///
    /// # Errors
    /// It is no http address, holds a name and password, a query or a fragment, or is plain http to a host that is
    /// neither loopback nor a private address while `allow_http` is not set.
    pub fn new(text: &str, allow_http: bool) -> Result<Self> {
        let text = text.trim();
        let example = "give an address such as http://localhost:8000/v1";
        if text.contains(['@', '?', '#']) {
            // What stands there may be a secret, so it is not repeated.
            return Err(Problem::new("the endpoint's address has a part that it may not have: @, ? or #")
                .fix(format!(
                    "{example}; a key comes from the environment ({})",
                    super::key::JUDGE_KEYS.join(", ")
                )));
        }
        let refuse = |what: &str| Problem::new(what).at(text).fix(example);
        let uri: Uri = text.parse().map_err(|error| refuse(&format!("is no address: {error}")))?;
        let (scheme, host) = match (uri.scheme_str(), uri.host()) {
            (Some(scheme @ ("http" | "https")), Some(host)) if !host.is_empty() => (scheme, host),
            _ => return Err(refuse("is no http or https address with a host")),
        };
        let near = near(host);
        if scheme == "http" && near == Near::Elsewhere && !allow_http {
            return Err(Problem::new(
                "plain http would send questions and key over the network for all to read",
            )
            .at(text)
            .fix("use https, or say --allow-http if the network is your own"));
        }
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let path = uri.path().trim_end_matches('/');
        let version = if path.split('/').any(is_version) { "" } else { "/v1" };
        Ok(Self { base: format!("{scheme}://{authority}{path}{version}"), host: authority.to_owned(), near })
    }

    /// The address of something that the endpoint offers, such as `chat/completions`.
    pub fn of(&self, what: &str) -> String {
        format!("{}/{what}", self.base)
    }

    /// The address of something that stands beside `/v1`.
    pub fn beside(&self, what: &str) -> String {
        format!("{}/{what}", self.base.strip_suffix("/v1").unwrap_or(&self.base))
    }

    /// The address itself.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether what is sent is encrypted.
    pub fn is_https(&self) -> bool {
        self.base.starts_with("https:")
    }

    /// Host, and port where one is named.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        self.near == Near::Loopback
    }
}

/// Whether a part of a path names a version.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// A name says nothing about the network that it leads to, except those that always mean this machine (RFC 6761).
fn near(host: &str) -> Near {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return Near::Loopback;
    }
    let ip = match host.parse() {
        Ok(IpAddr::V6(ip)) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
        Ok(ip) => ip,
        Err(_) => return Near::Elsewhere,
    };
    let local = |ip: Ipv6Addr| ip.is_unique_local() || ip.is_unicast_link_local();
    match ip {
        ip if ip.is_loopback() => Near::Loopback,
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => Near::Private,
        IpAddr::V6(ip) if local(ip) => Near::Private,
        _ => Near::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_added_where_it_is_missing() {
        let of = |text| Address::new(text, false).unwrap().of("models");
        assert_eq!(of("http://localhost:8000"), "http://localhost:8000/v1/models");
        assert_eq!(of("https://example.org/v1/"), "https://example.org/v1/models");
        assert_eq!(of("https://example.org/api"), "https://example.org/api/v1/models");
        assert_eq!(of("https://example.org/v1beta/openai/"), "https://example.org/v1beta/openai/models");
        assert_eq!(of("https://example.org/vision"), "https://example.org/vision/v1/models");
    }

    #[test]
    fn plain_http_stays_at_home() {
        let near =
            ["127.0.0.1:1", "localhost", "[::1]:80", "10.1.2.3", "192.168.0.9", "172.16.0.1", "[fd00::1]"];
        for host in near {
            assert!(Address::new(&format!("http://{host}"), false).is_ok(), "{host}");
        }
        for host in ["example.org", "8.8.8.8", "172.32.0.1", "127.0.0.1.example.org", "[2001:db8::1]"] {
            let plain = format!("http://{host}");
            assert!(Address::new(&plain, false).unwrap_err().to_string().contains("--allow-http"), "{host}");
            assert!(
                Address::new(&plain, true).is_ok() && Address::new(&format!("https://{host}"), false).is_ok()
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_a_secret() {
        for text in ["", "localhost:8000", "ftp://localhost", "http://", "http://a b"] {
            assert!(Address::new(text, true).is_err(), "{text}");
        }
        for text in ["https://me:hunter2@example.org", "https://example.org/v1?key=hunter2"] {
            let refusal = Address::new(text, false).unwrap_err().to_string();
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }
}
