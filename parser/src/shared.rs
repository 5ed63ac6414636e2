//! What the kernel refuses because rules share something by a name and want it to be different: the
//! buckets of hashlimit, an estimator of RATEEST, a timer of IDLETIMER.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::diagnostic::Diagnostic;
use crate::extension::{Extension, ExtensionKind};
use crate::span::Span;
use crate::syntax::{ExtensionUse, Rules, Target, Value};
use crate::words::clip;

/// Something with a name that rules share.
struct Shared {
    kind: ExtensionKind,
    extension: &'static str,
    /// The option that names it.
    name: &'static str,
    /// The options in which all rules of a name have to agree.
    alike: &'static [&'static str],
}

impl Shared {
    fn is_of(&self, extension: &Extension) -> bool {
        self.kind == extension.kind && self.extension == extension.name
    }
}

/// Measured with Linux 6.18 and both backends; other options may differ.
const SHARED: &[Shared] = &[
    Shared {
        kind: ExtensionKind::Match,
        extension: "hashlimit",
        name: "hashlimit-name",
        alike: &["hashlimit-rate-match"],
    },
    Shared {
        kind: ExtensionKind::Target,
        extension: "RATEEST",
        name: "rateest-name",
        alike: &["rateest-interval", "rateest-ewmalog"],
    },
    Shared {
        kind: ExtensionKind::Target,
        extension: "IDLETIMER",
        name: "label",
        alike: &["alarm"],
    },
];

/// Reports rules that differ from an earlier one in what they share with it.
pub(crate) fn check(rules: &Rules<'_>, found: &mut Vec<Diagnostic>) {
    let mut known: HashMap<(&str, &str), &ExtensionUse<'_>> = HashMap::new();
    for rule in rules.tables.iter().flat_map(|table| &table.rules) {
        let target = match &rule.target {
            Target::Extension(used) => Some(used),
            _ => None,
        };
        for used in rule.matches.iter().chain(target) {
            let Some(shared) = SHARED.iter().find(|one| one.is_of(used.extension)) else {
                continue;
            };
            let Some(Value::Text(name)) = used.option(shared.name).map(|option| &option.value)
            else {
                continue;
            };
            match known.entry((shared.extension, name)) {
                Entry::Vacant(entry) => {
                    entry.insert(used);
                }
                Entry::Occupied(entry) => {
                    let earlier = *entry.get();
                    let differs = shared.alike.iter().find(|name| {
                        let [earlier, now] = [earlier, used].map(|used| used.option(name));
                        earlier.map(|option| &option.value) != now.map(|option| &option.value)
                    });
                    if let Some(option) = differs {
                        found.push(refused(shared, name, option, used));
                    }
                }
            }
        }
    }
}

fn refused(shared: &Shared, name: &str, option: &str, used: &ExtensionUse<'_>) -> Diagnostic {
    let name = clip(name);
    let message = format!("an earlier rule uses `{name}` with another `--{option}`");
    let span: Span = used.option(option).map_or(used.span, |option| option.span);
    Diagnostic::error("refused-by-kernel", message, span)
        .help(format!("give it another `--{}`", shared.name))
}

#[cfg(test)]
mod tests {
    use crate::syntax::Backend;
    use crate::{check_chains, parse_rules};

    /// The texts that are underlined in a file of these two rules of two tables.
    fn refused(first: &str, second: &str) -> Vec<String> {
        let text =
            format!("*filter\n-A INPUT {first}\nCOMMIT\n*mangle\n-A PREROUTING {second}\nCOMMIT\n");
        let (rules, diagnostics) = parse_rules(&text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let found = check_chains(&rules, Backend::Nft);
        assert!(found.iter().all(|one| one.code == "refused-by-kernel"), "{found:?}");
        found.iter().map(|one| text[one.span.range()].to_owned()).collect()
    }

    #[test]
    fn rules_agree_about_what_they_share() {
        let limit = "-m hashlimit --hashlimit-upto 5/sec --hashlimit-name";
        let matched = format!("{limit} a --hashlimit-rate-match");
        let match_more = format!("{matched} --hashlimit-rate-interval 7");
        assert_eq!(refused(&format!("{limit} a"), &matched), ["--hashlimit-rate-match"]);
        assert_eq!(
            refused(&matched, &format!("{limit} a")),
            [format!("{limit} a").replace("-m ", "")]
        );
        assert!(refused(&matched, &match_more).is_empty());
        assert!(refused(&matched, &format!("{limit} b")).is_empty());

        let rate = "-j RATEEST --rateest-name a --rateest-interval 250ms --rateest-ewmalog";
        let (half, quarter) = (format!("{rate} 500ms"), format!("{rate} 1s"));
        assert_eq!(refused(&half, &quarter), ["--rateest-ewmalog 1s"]);
        assert!(refused(&half, &half).is_empty());

        let timer = "-j IDLETIMER --label a --timeout";
        let alarm = format!("{timer} 5 --alarm");
        assert_eq!(refused(&format!("{timer} 5"), &alarm), ["--alarm"]);
        assert!(refused(&format!("{timer} 5"), &format!("{timer} 7")).is_empty());
    }
}
