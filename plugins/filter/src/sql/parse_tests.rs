use super::*;

fn message(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn a_mistake_says_where_and_what() {
    let table = [
        ("city =", "at character 7: expected a column, a value or `(`, found the end"),
        ("city = 'Chicago", "at character 8: the text has no closing quote"),
        (
            "city 'Chicago'",
            "at character 6: expected `and`, `or` or the end, found the text 'Chicago'",
        ),
        ("(city = 'a'", "at character 12: expected `)`, found the end"),
        ("city in 'a'", "at character 9: expected `(` after `in`, found the text 'a'"),
        (
            "city in ('a' 'b')",
            "at character 14: expected `,` or `)` in the list, found the text 'b'",
        ),
        (
            "a = 1 = 2",
            "at character 7: a comparison of a comparison: put one of them in parentheses",
        ),
        ("lower(city) = 'a'", "at character 6: `where` knows no functions, not even `lower`"),
        ("a + 1 > 2", "at character 3: unexpected `+`: `where` does no arithmetic"),
        ("a * 2 > 2", "at character 3: unexpected `*`: `where` does no arithmetic"),
        ("a = 1 && b = 2", "at character 7: unexpected `&`, write `and` or `or`"),
        (
            "a is 5",
            "at character 6: expected `null`, `true`, `false` or `distinct from` after `is`, found the number 5",
        ),
        ("a between 1 or 2", "at character 13: expected `and` in `between … and …`, found `or`"),
        (
            "a not = 1",
            "at character 7: expected `in`, `between`, `like` or `ilike` after `not`, found a comparison sign",
        ),
        ("d = date '2026-02-30'", "at character 10: '2026-02-30' is not a date"),
        ("a = 12x", "at character 5: `12X` is not a number"),
        ("ü = $", "at character 5: unexpected character `$`"),
        ("", "at character 1: expected a column, a value or `(`, found the end"),
    ];
    for (text, expected) in table {
        assert_eq!(message(text), expected, "{text}");
    }
}

#[test]
fn not_binds_tighter_than_and_and_and_tighter_than_or() {
    let with = parse("((not a) and b) or (c and (not d))").unwrap();
    let without = parse("not a and b or c and not d").unwrap();
    assert_eq!(shape(&without), shape(&with));
    assert_ne!(shape(&without), shape(&parse("not (a and b or c and not d)").unwrap()));
}

/// The tree without its places.
fn shape(expression: &Expression) -> String {
    let join = |name: &str, parts: &[Expression]| {
        format!("{name}({})", parts.iter().map(shape).collect::<Vec<_>>().join(" "))
    };
    match &expression.kind {
        Kind::And(parts) => join("and", parts),
        Kind::Or(parts) => join("or", parts),
        Kind::Not(inner) => format!("not({})", shape(inner)),
        other => format!("{other:?}"),
    }
}

#[test]
fn literals_read_as_in_spark() {
    let table = [
        ("'Chicago'", Literal::String("Chicago".into())),
        ("\"Chicago\"", Literal::String("Chicago".into())),
        ("'O''Hare'", Literal::String("O'Hare".into())),
        (r"'O\'Hare'", Literal::String("O'Hare".into())),
        (r"'a\tb\u0041\%'", Literal::String("a\tbA\\%".into())),
        ("-9223372036854775808", Literal::Integer(i64::MIN)),
        ("9223372036854775808", Literal::Decimal { unscaled: 1 << 63, scale: 0 }),
        ("5L", Literal::Integer(5)),
        ("-19.990", Literal::Decimal { unscaled: -19990, scale: 3 }),
        (".5", Literal::Decimal { unscaled: 5, scale: 1 }),
        ("1e3", Literal::Double(1000.0)),
        ("1.5d", Literal::Double(1.5)),
        ("0.1F", Literal::Float(0.1)),
        ("DATE '2026-11-23'", Literal::Date(20_780)),
        ("timestamp'1970-01-01 00:00:01.5'", Literal::Timestamp(1_500_000)),
        ("TRUE", Literal::Boolean(true)),
        ("Null", Literal::Null),
    ];
    for (text, expected) in table {
        assert_eq!(parse(text).unwrap().kind, Kind::Literal(expected), "{text}");
    }
}

#[test]
fn names_may_be_dotted_and_quoted_and_look_like_types() {
    let table: [(&str, &[&str]); 4] = [
        ("address.city", &["address", "city"]),
        ("`a.b`.`c``d`", &["a.b", "c`d"]),
        ("timestamp", &["timestamp"]),
        ("größe", &["größe"]),
    ];
    for (text, parts) in table {
        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
        assert_eq!(parse(text).unwrap().kind, Kind::Column(parts), "{text}");
    }
}

#[test]
fn deep_nesting_is_refused_before_the_stack_is_gone() {
    let deep = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(message(&deep).ends_with("nested more than 100 levels deep"));
    assert!(message(&"not ".repeat(100_000)).ends_with("nested more than 100 levels deep"));
    let long = vec!["a = 1"; 20_000].join(" or ");
    assert!(parse(&long).is_ok());
}
