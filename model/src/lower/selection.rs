//! Which tables of which inputs count.

use nattrace_parser::syntax::{Backend, Family, RulesFormat, Table, TableName};

use super::RulesInput;

/// All blocks of one table that count together.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) backend: Backend,
    pub(super) family: Family,
    pub(super) table: TableName,
    /// The index of the input that they stand in.
    pub(super) input: usize,
    /// The blocks in order.
    pub(super) blocks: Vec<&'a Table<'a>>,
}

/// Chooses for each backend, family and table the input that has the last word.
///
/// Within one text in the form of iptables-save a second block of a table replaces the first, as
/// iptables-restore has it (kernel-facts I1, I4); blocks of commands and listings add up. The parser warns
/// of a second block.
pub(super) fn select<'a>(inputs: &[RulesInput<'a>]) -> Vec<Section<'a>> {
    let mut sections: Vec<Section<'a>> = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        for table in &input.rules.tables {
            let same = sections.iter_mut().find(|section| {
                section.table == table.name
                    && section.family == input.family
                    && section.backend == input.backend
            });
            let Some(section) = same else {
                sections.push(Section {
                    backend: input.backend,
                    family: input.family,
                    table: table.name,
                    input: index,
                    blocks: vec![table],
                });
                continue;
            };
            let replaces = section.input != index || input.rules.format == RulesFormat::Save;
            if replaces {
                section.blocks.clear();
            }
            section.input = index;
            section.blocks.push(table);
        }
    }
    sections
}
