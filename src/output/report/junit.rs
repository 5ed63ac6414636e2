//! JUnit XML, as CI systems take test results.

use quick_junit::{NonSuccessKind, Report as Suites, TestCase, TestCaseStatus, TestSuite};

use super::{Item, Level, Report, plain};

/// The document, ending in a newline.
pub(crate) fn render(report: &Report<'_>) -> Result<String, quick_junit::SerializeError> {
    let mut suites = Suites::new(format!("nattrace {}", report.command));
    let mut suite = TestSuite::new(plain(report.subject));
    suite.add_test_cases(report.items.iter().map(|item| case(report, item)));
    suites.add_test_suite(suite);
    let mut text = suites.to_string()?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn case(report: &Report<'_>, item: &Item) -> TestCase {
    let counts = report.fails_from.is_some_and(|from| item.level >= from);
    let mut status = match (item.level, &item.excuse) {
        (Level::Pass, _) => TestCaseStatus::success(),
        (_, Some(_)) => TestCaseStatus::skipped(),
        // What does not fail the command does not fail a test.
        (_, None) if !counts => TestCaseStatus::skipped(),
        (Level::Error, None) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        (Level::Info | Level::Warning, None) if item.is_check() => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
        (Level::Info | Level::Warning, None) => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
    };
    match (item.level, &item.excuse) {
        (Level::Pass, _) => {}
        (_, Some(excuse)) => {
            status.set_message(plain(excuse));
        }
        (_, None) => {
            status.set_message(plain(&item.message));
            status.set_type(item.code);
            status.set_description(plain(&item.page));
        }
    }
    let mut case = TestCase::new(plain(&item.title), status);
    case.set_classname(format!("nattrace.{}.{}", report.command, item.code));
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::report::sample;

    #[test]
    fn every_item_is_a_case() {
        let text = render(&sample()).unwrap();
        insta::assert_snapshot!(text);
        let read = Suites::deserialize_from_str(&text).unwrap();
        let cases = &read.test_suites[0].test_cases;
        assert_eq!(cases.len(), 4);
        assert!(matches!(cases[2].status, TestCaseStatus::Success { .. }));
        assert!(matches!(cases[3].status, TestCaseStatus::Skipped { .. }));
    }
}
