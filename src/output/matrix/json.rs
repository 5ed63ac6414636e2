//! A matrix for programs: one document, or one line for each cell.

use std::io::{self, Write};

use nattrace_verifier::matrix::{Breadth, Cell, Landing, Part, Reach, Source, Target, Which, Zone};
use nattrace_verifier::policy::Where;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{View, family_key, prefix_words, range_words, source_words};
use crate::output::json::{Layout, flow_value};
use crate::output::{names, words};

/// The name and version of the shape of the JSON.
const SCHEMA: &str = "nattrace/matrix/1";

/// Writes a matrix.
pub(crate) fn write(out: &mut impl Write, view: &View<'_>, layout: Layout) -> io::Result<()> {
    match layout {
        Layout::Indented => {
            serde_json::to_writer_pretty(&mut *out, &Document(view))?;
            out.write_all(b"\n")
        }
        Layout::Line => view.matrix.cells.iter().try_for_each(|cell| {
            serde_json::to_writer(&mut *out, &CellEntry { view, cell })?;
            out.write_all(b"\n")
        }),
    }
}

struct Document<'a>(&'a View<'a>);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Zones<'a> {
            from: Vec<&'a str>,
            to: Vec<&'a str>,
        }
        #[derive(Serialize)]
        struct Summary {
            always: usize,
            sometimes: usize,
            never: usize,
            undetermined: usize,
        }
        #[derive(Serialize)]
        struct Assumed<'a> {
            code: &'a str,
            text: &'a str,
        }
        let view = self.0;
        let matrix = view.matrix;
        let zone_names =
            |zones: &'_ [Zone]| zones.iter().map(|zone| zone.name.clone()).collect::<Vec<_>>();
        let (from, to) = (zone_names(&matrix.from), zone_names(&matrix.to));
        let zones = Zones {
            from: from.iter().map(String::as_str).collect(),
            to: to.iter().map(String::as_str).collect(),
        };
        let cells: Vec<CellEntry<'_>> =
            matrix.cells.iter().map(|cell| CellEntry { view, cell }).collect();
        let assumptions = matrix.assumptions.iter();
        let assumptions: Vec<Assumed<'_>> =
            assumptions.map(|own| Assumed { code: own.code, text: &own.text }).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", SCHEMA)?;
        map.serialize_entry("zones", &zones)?;
        map.serialize_entry("cells", &cells)?;
        let summary = Summary {
            always: view.count(Reach::Always),
            sometimes: view.count(Reach::Sometimes),
            never: view.count(Reach::Never),
            undetermined: view.count(Reach::Undetermined),
        };
        map.serialize_entry("summary", &summary)?;
        map.serialize_entry("assumptions", &assumptions)?;
        map.end()
    }
}

struct CellEntry<'a> {
    view: &'a View<'a>,
    cell: &'a Cell,
}

impl Serialize for CellEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { view, cell } = *self;
        let name = |zones: &'_ [Zone], at: usize| zones.get(at).map(|zone| zone.name.clone());
        let services: Vec<String> = cell.services.iter().map(ToString::to_string).collect();
        let parts: Vec<PartEntry<'_>> =
            cell.parts.iter().map(|part| PartEntry { view, part }).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("family", family_key(cell.family))?;
        map.serialize_entry("from", &name(&view.matrix.from, cell.from))?;
        map.serialize_entry("to", &name(&view.matrix.to, cell.to))?;
        map.serialize_entry("services", &services)?;
        let breadth = match cell.breadth {
            Breadth::Everything => "everything",
            Breadth::Rest => "rest",
            Breadth::Some => "some",
        };
        map.serialize_entry("breadth", breadth)?;
        map.serialize_entry("reach", cell.reach.as_str())?;
        map.serialize_entry("parts", &parts)?;
        map.end()
    }
}

struct PartEntry<'a> {
    view: &'a View<'a>,
    part: &'a Part,
}

impl Serialize for PartEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { view, part } = *self;
        let sources: Vec<String> = part
            .sources
            .iter()
            .map(|source| match source {
                Source::Unchanged => "unchanged".to_owned(),
                Source::Unknown => "unknown".to_owned(),
                Source::Address(_) | Source::Network(_) => source_words(source),
            })
            .collect();
        let lands: Vec<LandingEntry<'_>> =
            part.landings.iter().map(|landing| LandingEntry { view, landing }).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("outcome", names::outcome(part.outcome))?;
        map.serialize_entry("verdict", names::verdict(part.verdict))?;
        map.serialize_entry("sources", &sources)?;
        map.serialize_entry("lands", &lands)?;
        if let Some(because) = &part.because {
            map.serialize_entry("because", because)?;
        }
        map.serialize_entry("which", &part.which.as_ref().map(WhichEntry))?;
        map.serialize_entry("witness", &flow_value(&part.witness))?;
        map.serialize_entry("replay", &words::replay(&part.witness))?;
        map.end()
    }
}

struct LandingEntry<'a> {
    view: &'a View<'a>,
    landing: &'a Landing,
}

impl Serialize for LandingEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { view, landing } = *self;
        let inventory = &view.context.system.host.inventory;
        let (address, container) = match &landing.address {
            Target::AsAddressed => (None, None),
            Target::Network(network) => (Some(network.to_string()), None),
            Target::Address(address) => {
                let owner = inventory.owner(*address).map(|(container, _)| &container.name);
                (Some(address.to_string()), owner)
            }
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("interface", &landing.interface)?;
        map.serialize_entry("address", &address)?;
        map.serialize_entry("port", &landing.port)?;
        map.serialize_entry("container", &container)?;
        map.serialize_entry("proxied", &landing.proxied)?;
        map.end()
    }
}

struct WhichEntry<'a>(&'a Which);

impl Serialize for WhichEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Values {
            values: Vec<String>,
            more: bool,
        }
        let which = self.0;
        let start = |at: &Where| match at {
            Where::Unbound => None,
            Where::Bound => Some("lo".to_owned()),
            Where::Behind(interface) => Some(interface.clone()),
        };
        let mut map = serializer.serialize_map(None)?;
        if let Some(starts) = &which.starts {
            map.serialize_entry("iif", &starts.iter().map(start).collect::<Vec<_>>())?;
        }
        let prefixes = [("src", &which.sources), ("dst", &which.destinations)];
        for (key, share) in prefixes {
            if let Some(share) = share {
                let values = share.named.iter().map(prefix_words).collect();
                map.serialize_entry(key, &Values { values, more: share.more })?;
            }
        }
        let ports = [("sport", &which.source_ports), ("dport", &which.ports)];
        for (key, share) in ports {
            if let Some(share) = share {
                let values = share.named.iter().map(range_words).collect();
                map.serialize_entry(key, &Values { values, more: share.more })?;
            }
        }
        map.end()
    }
}
