//! A Python or JSON literal: what is read comes back from its own text.
#![no_main]

use shardscope::dataset::literal::Literal;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(Literal::List(elements)) = Literal::parse(text) {
        let shown = Literal::List(elements.clone()).into_text();
        assert_eq!(Literal::parse(&shown).ok(), Some(Literal::List(elements)), "{shown}");
    }
});
