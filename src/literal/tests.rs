//! Literals as Python reads them, and what is refused.

use super::*;

#[test]
fn lists_of_texts_are_read_as_python_reads_them() {
    let read = |text: &str| texts(text).unwrap();
    assert_eq!(read("['$6', '$7']"), ["$6", "$7"]);
    assert_eq!(read(r#"["it's", 'say "x"', 'both \' and "']"#), ["it's", "say \"x\"", "both ' and \""]);
    assert_eq!(
        read(r"['back\\slash', '\frac', '\d', 'tab\there', '\x41\u00e9\101']").join("|"),
        "back\\slash|\u{c}rac|\\d|tab\there|AéA"
    );
    assert_eq!(read(r#"["\ud83d\ude00", "a" 'b', r'\n', '''x'y''', ]"#), ["😀", "ab", "\\n", "x'y"]);
    assert_eq!(read("[]"), Vec::<String>::new());
    assert_eq!(read("(1, 2.50, None, True, -1e3)"), ["1", "2.50", "None", "True", "-1e3"]);
    assert_eq!(read("[['a', \"b'c\"], {'k': 1}]"), ["['a', \"b'c\"]", "{'k': 1}"]);
    assert_eq!(Literal::parse("('a')").unwrap(), Literal::Text("a".into()));
    assert_eq!(Literal::parse("('a',)").unwrap(), Literal::Tuple(vec![Literal::Text("a".into())]));
}

#[test]
fn code_and_broken_literals_are_refused() {
    for text in [
        "",
        "[",
        "['a'",
        "['a' 1]",
        "[a]",
        "__import__('os')",
        "[1 + 1]",
        "['a'].pop()",
        "'",
        "'\\",
        "'\\x4'",
        "'\\U00110000'",
        "[,]",
        "{1: 2",
        "[1] 2",
        "lambda: 0",
        "e",
        "inf_",
        "'''a'",
    ] {
        assert!(Literal::parse(text).is_err(), "{text}");
    }
    assert!(Literal::parse(&"[".repeat(100_000)).is_err());
}

#[test]
fn words_of_json_are_values_beside_those_of_python() {
    assert_eq!(texts("[true, null, NaN, 'x']").unwrap(), ["true", "null", "NaN", "x"]);
    assert_eq!(Literal::python("[true]"), None);
    assert_eq!(Literal::parse("'a\nb'").unwrap(), Literal::Text("a\nb".into()));
    assert_eq!(Literal::python("'\\ud83d'"), None);
}

#[test]
fn representations_come_back_as_python_gives_them() {
    // Left: a cell; right: repr(ast.literal_eval(cell)) by CPython 3.11.
    for (cell, repr) in [
        ("['a', \"b's\"]", "['a', \"b's\"]"),
        ("[]", "[]"),
        ("[1, 2.50, -3]", "[1, 2.5, -3]"),
        ("('a','b')", "('a', 'b')"),
        ("('a')", "'a'"),
        ("('a',)", "('a',)"),
        ("1, 2", "(1, 2)"),
        ("'cat'", "'cat'"),
        ("['\\\\frac{1}{2}', 'x\\ny']", "['\\\\frac{1}{2}', 'x\\ny']"),
        ("['a' 'b',]", "['ab']"),
        ("[None, True, {'k': [1]}, {1}]", "[None, True, {'k': [1]}, {1}]"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("1e3", "1000.0"),
        ("'\\u732b'", "'猫'"),
        ("r'\\n'", "'\\\\n'"),
        ("'\\d'", "'\\\\d'"),
    ] {
        assert_eq!(Literal::python(cell).map(|v| v.repr()).as_deref(), Some(repr), "{cell}");
    }
}

#[test]
fn what_python_refuses_is_no_literal_of_its() {
    for cell in [
        "",
        "cat",
        "[1",
        "[1 2]",
        "__import__('os')",
        "[x for x in 'ab']",
        "'a",
        "01",
        "1__0",
        "nan",
        "inf",
        "1.2.3",
        "[,]",
        "2010-2011",
        "3 to 4",
        "{1: 2, 3}",
        "'a\nb'",
        "\\",
    ] {
        assert_eq!(Literal::python(cell), None, "{cell}");
    }
    assert_eq!(Literal::python(&"[".repeat(100_000)), None);
}

proptest::proptest! {
    #[test]
    fn any_text_comes_back_from_its_python_form(text in ".*") {
        let shown = Literal::Text(text.clone()).repr();
        proptest::prop_assert_eq!(Literal::python(&shown), Some(Literal::Text(text.clone())));
        proptest::prop_assert_eq!(Literal::parse(&shown).unwrap(), Literal::Text(text));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[\\[\\](){}'\"\\\\,:0-9a-fxuUrN \n\u{e9}]{0,40}") {
        let _ = (Literal::parse(&text), Literal::python(&text));
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_representations_read_back(text in "[\\[\\](){}'\"\\\\a-c0-9.,:_xe +-]{0,24}") {
        if let Ok(value) = Literal::parse(&text) {
            let repr = value.repr();
            // Non-finite floats have no literal, and an empty set is written as an empty dictionary.
            if !repr.contains("inf") && !repr.contains("{}") {
                proptest::prop_assert_eq!(Literal::parse(&repr).map(|v| v.repr()), Ok(repr));
            }
        }
    }
}
