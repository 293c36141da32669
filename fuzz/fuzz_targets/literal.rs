//! A Python or JSON literal: what Python shows of it is read as the same again.
#![no_main]

use shardscope::literal::Literal;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = Literal::python(text);
    let Ok(value) = Literal::parse(text) else { return };
    let shown = value.repr();
    // Python shows infinity as a name that has no sign of its own.
    if !shown.contains("-inf") {
        assert_eq!(Literal::parse(&shown).map(|value| value.repr()), Ok(shown));
    }
});
