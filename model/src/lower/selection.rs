//! Which tables of which inputs count.

use nattrace_parser::syntax::{Backend, Family, RulesFormat, Table, TableName};

use super::Drafted;
use super::draft::Draft;

/// A table of a host, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) backend: Backend,
    pub(super) family: Family,
    pub(super) table: TableName,
    /// The index of the input that it stands in.
    pub(super) input: usize,
}

/// All blocks of one table that count together.
#[derive(Debug)]
pub(super) struct Section<'d, 'a> {
    pub(super) place: Place,
    /// The blocks in order.
    pub(super) blocks: Vec<&'d mut Table<'a, Draft<'a>>>,
}

/// Chooses for each backend, family and table the input that has the last word.
///
/// Within one text in the form of iptables-save a second block of a table replaces the first, as
/// iptables-restore has it (kernel-facts I1, I4); blocks of commands and listings add up. The parser warns
/// of a second block.
pub(super) fn select<'d, 'a>(inputs: &'d mut [Drafted<'a>]) -> Vec<Section<'d, 'a>> {
    let mut sections: Vec<Section<'d, 'a>> = Vec::new();
    for (index, input) in inputs.iter_mut().enumerate() {
        let Drafted { backend, family, .. } = *input;
        let format = input.rules.format;
        if format == RulesFormat::Script {
            // It holds whatever was there before it, too.
            sections.retain(|section| {
                let Place { backend: of, family: which, .. } = section.place;
                (of, which) != (backend, family)
            });
        }
        for block in &mut input.rules.tables {
            let place = Place { backend, family, table: block.name, input: index };
            let same = sections.iter_mut().find(|section| {
                let Place { backend, family, table, .. } = section.place;
                (backend, family, table) == (place.backend, place.family, place.table)
            });
            let Some(section) = same else {
                sections.push(Section { place, blocks: vec![block] });
                continue;
            };
            if section.place.input != index || format == RulesFormat::Save {
                section.blocks.clear();
            }
            section.place = place;
            section.blocks.push(block);
        }
    }
    sections
}
