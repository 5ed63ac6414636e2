use super::*;
use crate::output::sample;

fn page(width: usize) -> String {
    let system = sample::system();
    let page = render(&Context::new(&system), &sample::answer(&system), width);
    anstream::adapter::strip_str(&page).to_string()
}

#[test]
fn everything_has_its_words() {
    insta::assert_snapshot!(page(80));
}

/// However narrow a page is, nothing is left out.
#[test]
fn the_width_only_moves_words() {
    let letters = |text: String| text.split_whitespace().collect::<String>();
    let wide = letters(page(400));
    for width in [1, 20, 40, 60, 80, 100, 140] {
        assert_eq!(letters(page(width)), wide, "{width}");
    }
}

#[test]
fn lines_keep_to_the_width_where_words_let_them() {
    for width in [60, 80, 100] {
        for line in page(width).lines() {
            let size = line.chars().count();
            let breakable = line.split_whitespace().count() > 2;
            assert!(size <= width || !breakable, "{size} > {width}: {line}");
        }
    }
}

/// What an input calls its interfaces must not drive a terminal.
#[test]
fn control_characters_are_written_out() {
    let system = sample::system();
    let answer = sample::answer(&system);
    let page = render(&Context::new(&system), &answer, 80);
    assert!(page.contains("br0\\u{1b}[31m"), "{page}");
    assert!(!page.contains("br0\u{1b}"), "{page}");
}
