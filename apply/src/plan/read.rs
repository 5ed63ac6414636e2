//! Reading a plan: strict, every fault at its place, all of them in one run.

use nattrace_parser::diagnostic::nearest;
use nattrace_parser::host::json::{Json, Object};
use nattrace_parser::syntax::{Backend, Family, TableName};
use nattrace_parser::{Diagnostic, Origin, Severity, Span, parse_rules_of};

use super::{
    Analysed, Edit, Holder, MustHold, OWN_CHAIN, OWN_TABLE, Op, PLAN_SCHEMA, Plan, PolicyText,
};

const PLAN_KEYS: [&str; 8] =
    ["schema", "id", "policy", "repairs", "analysed", "edits", "must_hold", "notes"];
const EDIT_KEYS: [&str; 9] =
    ["family", "backend", "table", "chain", "op", "position", "rule", "replaces", "because"];

/// How long a name of a plan may be: with `nattrace-` before it, it has to fit a chain's.
const LONGEST_ID: usize = 16;

/// Reads a plan, or says everything that is wrong with it.
///
/// # Errors
///
/// The faults, each at its place in the text.
pub fn read_plan(text: &str) -> Result<Plan, Vec<Diagnostic>> {
    let mut reader = Reader::default();
    let plan = Json::whole(text, "a plan, as `nattrace fix --format plan` writes it")
        .and_then(|whole| whole.object("a plan, as `nattrace fix --format plan` writes it"))
        .map_err(|fault| reader.fault(fault))
        .ok()
        .and_then(|object| reader.plan(&object));
    match plan {
        Some(plan) if reader.faults.is_empty() => Ok(plan),
        Some(_) | None => Err(reader.faults),
    }
}

#[derive(Default)]
struct Reader {
    faults: Vec<Diagnostic>,
}

/// What could not be read; its fault is told already.
type Wanted<T> = Option<T>;

impl Reader {
    fn fault(&mut self, fault: Diagnostic) {
        self.faults.push(Diagnostic { severity: Severity::Error, ..fault });
    }

    fn told<T>(&mut self, result: Result<T, Diagnostic>) -> Wanted<T> {
        result.map_err(|fault| self.fault(fault)).ok()
    }

    fn plan(&mut self, object: &Object<'_>) -> Wanted<Plan> {
        self.known(object, &PLAN_KEYS);
        if let Some(schema) = self.required(object, "schema")
            && self.string(&schema).is_some_and(|found| found != PLAN_SCHEMA)
        {
            self.fault(schema.unexpected(&format!("`{PLAN_SCHEMA}`")));
        }
        let id = self.required(object, "id");
        let id = id.and_then(|id| self.id(&id));
        let analysed = self.entries(object, "analysed", Self::analysed);
        let edits = self.required(object, "edits");
        let edits = edits.map(|edits| self.list(&edits, Self::edit));
        let must_hold = self.entries(object, "must_hold", Self::must_hold);
        let repairs = self.entries(object, "repairs", |reader, value| reader.string(&value));
        let notes = self.entries(object, "notes", |reader, value| reader.string(&value));
        let policy = object.get("policy").map(|policy| self.policy(&policy));
        let edits = edits?;
        if edits.is_empty() && self.faults.is_empty() {
            let fault = "expected one or more `edits`, found none";
            self.fault(Diagnostic::error("missing-field", fault, object.span));
        }
        let (schema, id) = (PLAN_SCHEMA, id?);
        let policy = policy.flatten();
        Some(Plan { schema, id, policy, repairs, analysed, edits, must_hold, notes })
    }

    fn id(&mut self, value: &Json<'_>) -> Wanted<String> {
        let id = self.string(value)?;
        let fits = |id: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(plain) && !id.starts_with('-')
        };
        if fits(&id) {
            return Some(id);
        }
        self.fault(value.unexpected("up to 16 letters, digits and `-`"));
        None
    }

    fn policy(&mut self, value: &Json<'_>) -> Wanted<PolicyText> {
        let object = self.told(value.object("an object with `name` and `text`"))?;
        self.known(&object, &["name", "text"]);
        let name = self.text(&object, "name");
        let text = self.text(&object, "text");
        Some(PolicyText { name: name?, text: text? })
    }

    fn analysed(&mut self, value: Json<'_>) -> Wanted<Analysed> {
        let object = self.told(value.object("an object with `family`, `backend` and `digest`"))?;
        self.known(&object, &["family", "backend", "digest"]);
        let family = self.family(&object);
        let backend = self.word(&object, "backend", &BACKENDS);
        let digest = self.text(&object, "digest");
        Some(Analysed { family: family?, backend: backend?, digest: digest? })
    }

    fn must_hold(&mut self, value: Json<'_>) -> Wanted<MustHold> {
        let object = self.told(value.object("an object with `flow`"))?;
        self.known(&object, &["name", "flow", "outcome"]);
        let flow = self.required(&object, "flow")?;
        self.told(flow.object("an object with `src` and `dst`"))?;
        let name = object.get("name").and_then(|name| self.string(&name));
        let outcome = match object.get("outcome") {
            None => Some("connects"),
            Some(_) => self.word(&object, "outcome", &OUTCOMES),
        };
        let flow = serde_json::from_str(flow.text()).ok()?;
        Some(MustHold { name: name.unwrap_or_default(), flow, outcome: outcome?.to_owned() })
    }

    fn edit(&mut self, value: Json<'_>) -> Wanted<Edit> {
        let object = self.told(value.object("an object with `table`, `chain`, `op` and `rule`"))?;
        self.known(&object, &EDIT_KEYS);
        let family = self.family(&object);
        let holder = self.holder(&object);
        let chain = self.text(&object, "chain");
        let op = self.word(&object, "op", &OPS);
        let position = self.position(&object, op);
        let because = object.get("because").and_then(|because| self.string(&because));
        let (family, holder, chain, op) = (family?, holder?, chain?, op?);
        if holder == Holder::Own {
            self.own(&object, &chain, op);
        }
        let at = Place { family, holder, chain: &chain };
        let rule = self.rule(&object, "rule", &at);
        let replaces = match op {
            Op::Replace => Some(self.rule(&object, "replaces", &at)?),
            Op::Insert | Op::Delete | Op::Append => None,
        };
        let because = because.unwrap_or_default();
        Some(Edit {
            family,
            holder,
            chain,
            op,
            position: position?,
            rule: rule?,
            replaces,
            because,
        })
    }

    fn own(&mut self, object: &Object<'_>, chain: &str, op: Op) {
        if let Some(value) = object.get("chain").filter(|_| chain != OWN_CHAIN) {
            self.fault(value.unexpected(&format!("`{OWN_CHAIN}`, the chain of `{OWN_TABLE}`")));
        }
        if let (Op::Replace | Op::Delete, Some(value)) = (op, object.get("op")) {
            self.fault(value.unexpected(&format!("`append` or `insert` in table `{OWN_TABLE}`")));
        }
    }

    fn holder(&mut self, object: &Object<'_>) -> Wanted<Holder> {
        let value = self.required(object, "backend")?;
        if self.string(&value)? == "native" {
            self.word(object, "table", &[(OWN_TABLE, ())])?;
            return Some(Holder::Own);
        }
        let words = [("nft", Some(Backend::Nft)), ("legacy", Some(Backend::Legacy))];
        let backend = self.word(object, "backend", &[words[0], words[1], ("native", None)])??;
        let tables = TableName::ALL.map(|table| (table.as_str(), table));
        Some(Holder::Iptables(backend, self.word(object, "table", &tables)?))
    }

    fn position(&mut self, object: &Object<'_>, op: Option<Op>) -> Wanted<Option<u32>> {
        let needed = matches!(op, Some(Op::Insert | Op::Replace | Op::Delete));
        let Some(value) = object.get("position") else {
            if needed {
                self.required(object, "position")?;
            }
            return Some(None);
        };
        let position: Option<u32> = value.text().parse().ok().filter(|position| *position > 0);
        if position.is_none() {
            self.fault(value.unexpected("the number of a rule, from 1"));
        }
        position.map(Some)
    }

    /// A rule that iptables would take at this place.
    fn rule(&mut self, object: &Object<'_>, key: &str, place: &Place<'_>) -> Wanted<String> {
        let value = self.required(object, key)?;
        let rule = self.string(&value)?;
        let Holder::Iptables(backend, table) = place.holder else {
            return self.own_rule(&value, rule);
        };
        let start = format!("-A {} ", place.chain);
        if !rule.starts_with(&start) || rule.contains(['\n', '\r', '\0']) {
            self.fault(value.unexpected(&format!("one rule that starts with `{start}`")));
            return None;
        }
        let before = format!("*{}\n", table.as_str());
        let text = format!("{before}{rule}\n");
        let origin = Origin { family: Some(place.family), backend: Some(backend) };
        let (_, faults) = parse_rules_of(&text, origin);
        let mut sound = true;
        // The chains that it calls are not in the plan; iptables looks for them.
        let faults = faults.into_iter().filter(|fault| !ABOUT_THE_REST.contains(&fault.code));
        for fault in faults.filter(|fault| fault.severity == Severity::Error) {
            sound = false;
            let span = within(&value, &rule, before.len(), fault.span);
            self.fault(Diagnostic { span, ..fault });
        }
        sound.then_some(rule)
    }

    /// A rule of nft's language, which nft itself judges before anything is loaded.
    fn own_rule(&mut self, value: &Json<'_>, rule: String) -> Wanted<String> {
        let fits = !rule.trim().is_empty()
            && !rule.contains(['\n', '\r', '\0', ';', '{', '}', '#'])
            && !rule.split_whitespace().any(|word| word == "comment");
        if !fits {
            self.fault(value.unexpected("one rule as nft prints it, without sets and comments"));
            return None;
        }
        Some(rule)
    }

    fn family(&mut self, object: &Object<'_>) -> Wanted<Family> {
        self.word(object, "family", &[("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)])
    }

    /// One of several words.
    fn word<T: Copy>(
        &mut self,
        object: &Object<'_>,
        key: &str,
        words: &[(&'static str, T)],
    ) -> Wanted<T> {
        let value = self.required(object, key)?;
        let found = self.string(&value)?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == found) {
            return Some(*meant);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let fault = value.unexpected(&listed(&names));
        self.fault(match nearest(&found, names.iter().copied()) {
            Some(near) => fault.help(format!("did you mean `{near}`?")),
            None => fault,
        });
        None
    }

    fn text(&mut self, object: &Object<'_>, key: &str) -> Wanted<String> {
        let value = self.required(object, key)?;
        self.string(&value)
    }

    fn string(&mut self, value: &Json<'_>) -> Wanted<String> {
        // A text with escapes can't be borrowed from the plan.
        let read = serde_json::from_str(value.text());
        self.told(read.map_err(|_| value.unexpected("a string")))
    }

    fn required<'a>(&mut self, object: &Object<'a>, key: &str) -> Wanted<Json<'a>> {
        let value = object.required(key);
        self.told(value)
    }

    /// The entries of a list that may be missing.
    fn entries<T>(
        &mut self,
        object: &Object<'_>,
        key: &str,
        read: impl Fn(&mut Self, Json<'_>) -> Wanted<T>,
    ) -> Vec<T>
    where
        T: Sized,
    {
        object.get(key).map_or_else(Vec::new, |value| self.list(&value, read))
    }

    fn list<T>(
        &mut self,
        value: &Json<'_>,
        read: impl Fn(&mut Self, Json<'_>) -> Wanted<T>,
    ) -> Vec<T> {
        let entries = value.list("a list");
        let entries = self.told(entries).unwrap_or_default();
        entries.into_iter().filter_map(|entry| read(self, entry)).collect()
    }

    fn known(&mut self, object: &Object<'_>, keys: &[&str]) {
        for (index, (key, value)) in object.iter().enumerate() {
            if object.iter().take(index).any(|(other, _)| other == key) {
                let message = format!("the key `{key}` is there twice");
                self.fault(Diagnostic::error("duplicate-option", message, value.span));
            }
            if keys.contains(&key) {
                continue;
            }
            let fault =
                Diagnostic::error("unknown-key", format!("unknown key `{key}`"), value.span);
            self.fault(match nearest(key, keys.iter().copied()) {
                Some(near) => fault.help(format!("did you mean `{near}`?")),
                None => fault.help(format!("the keys are {}", keys.join(", "))),
            });
        }
    }
}

const BACKENDS: [(&str, Backend); 2] = [("nft", Backend::Nft), ("legacy", Backend::Legacy)];

const OPS: [(&str, Op); 4] = [
    (Op::Insert.as_str(), Op::Insert),
    (Op::Replace.as_str(), Op::Replace),
    (Op::Delete.as_str(), Op::Delete),
    (Op::Append.as_str(), Op::Append),
];

const OUTCOMES: [(&str, &str); 4] = [
    ("connects", "connects"),
    ("refused", "refused"),
    ("unreachable", "unreachable"),
    ("timeout", "timeout"),
];

/// Faults of a text of one rule that are none of the rule.
const ABOUT_THE_REST: [&str; 3] = ["unknown-chain", "missing-commit", "unknown-target"];

/// Where a rule is to stand.
struct Place<'a> {
    family: Family,
    holder: Holder,
    chain: &'a str,
}

/// A place within a rule as a place within the plan.
fn within(value: &Json<'_>, rule: &str, before: usize, span: Span) -> Span {
    if value.text().len() != rule.len() + 2 {
        // With escapes, nothing stands where it stands in the rule.
        return value.span;
    }
    let start = value.span.range().start + 1;
    let place = |offset: usize| start + offset.saturating_sub(before).min(rule.len());
    Span::new(place(span.range().start), place(span.range().end))
}

/// `a`, `b` or `c`.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
