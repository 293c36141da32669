//! Cards whose memory and speed are known from their makers' data sheets.

use super::bytes::{GIB, MIB};

/// A card.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Card {
    /// Its name, as people write it.
    pub name: &'static str,
    /// What a driver reports of its memory, in bytes.
    pub memory: u64,
    /// Memory bandwidth in bytes a second.
    pub bandwidth: u64,
    /// Dense half-precision tensor operations a second.
    pub flops: u64,
}

const fn card(name: &'static str, gib: u64, gigabytes_a_second: u64, tera_operations: u64) -> Card {
    Card {
        name,
        memory: gib * GIB,
        bandwidth: gigabytes_a_second * 1_000_000_000,
        flops: tera_operations * 1_000_000_000_000,
    }
}

/// Known cards; a longer name stands before a shorter one it contains.
pub const CARDS: [Card; 19] = [
    card("GB200", 186, 8000, 2500),
    card("B200", 180, 8000, 2250),
    card("H200", 141, 4800, 989),
    card("H100 NVL", 94, 3900, 835),
    card("H100 PCIe", 80, 2000, 756),
    card("H100", 80, 3350, 989),
    card("H20", 96, 4000, 148),
    card("A100-80GB", 80, 2039, 312),
    card("A100-40GB", 40, 1555, 312),
    card("A100", 80, 2039, 312),
    card("RTX PRO 6000", 96, 1792, 500),
    card("L40S", 48, 864, 362),
    card("RTX 6000 Ada", 48, 960, 364),
    card("A6000", 48, 768, 155),
    card("RTX 5090", 32, 1792, 210),
    card("RTX 4090", 24, 1008, 165),
    card("RTX 3090", 24, 936, 71),
    card("V100", 32, 900, 125),
    Card { name: "T4", memory: 15 * GIB + 360 * MIB, bandwidth: 320_000_000_000, flops: 65_000_000_000_000 },
];

/// Finds a card in a driver's name (`NVIDIA H100 80GB HBM3`, `NVIDIA A100-SXM4-40GB`) or in what a user wrote (`h100`,
/// `A100-40GB`, `rtx4090`).
pub fn find(name: &str) -> Option<&'static Card> {
    let plain = |text: &str| {
        text.to_ascii_lowercase().replace("nvidia", "").replace("geforce", "").replace([' ', '-', '_'], "")
    };
    let wanted = plain(name).replace("sxm4", "").replace("sxm5", "").replace("sxm2", "");
    if wanted.len() < 2 || wanted.bytes().next().is_some_and(|b| b.is_ascii_digit() && !wanted.contains("90"))
    {
        return None;
    }
    CARDS.iter().find(|card| wanted.contains(&plain(card.name)) || plain(card.name) == format!("rtx{wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_drivers_and_people_write() {
        let name = |text: &str| find(text).map(|card| card.name);
        assert_eq!(name("NVIDIA H100 80GB HBM3"), Some("H100"));
        assert_eq!(name("NVIDIA H100 PCIe"), Some("H100 PCIe"));
        assert_eq!(name("NVIDIA A100-SXM4-40GB"), Some("A100-40GB"));
        assert_eq!(name("NVIDIA GeForce RTX 4090"), Some("RTX 4090"));
        assert_eq!(name("4090"), Some("RTX 4090"));
        assert_eq!(name("40GiB"), None);
        assert_eq!(name("90GiB"), None);
        assert_eq!(name("Matrox"), None);
    }
}
