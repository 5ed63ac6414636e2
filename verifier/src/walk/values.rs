//! Of which packets values lie in a set, and which entry of a map they choose: the twin of the
//! model's own.

use nattrace_model::condition::Sense;
use nattrace_model::condition::value::{Interval, Operand, Selector, ValueCondition};
use nattrace_model::simulate::View;
use nattrace_model::target::TargetMap;

use crate::space::Field;
use crate::walk::conditions::Extent;
use crate::walk::membership::Both;
use crate::walk::region::{Provenance, Region};

impl Region {
    /// Of which packets values lie in a set.
    pub(crate) fn value(
        &mut self,
        view: &View<'_>,
        sense: Sense,
        asked: &ValueCondition,
    ) -> Extent {
        if !view.can_read(&asked.operands) {
            return Extent::Same;
        }
        let fields = self.fields(view, &asked.operands);
        if fields.iter().all(Option::is_none) {
            return Extent::Same;
        }
        let space = self.ground.space.clone();
        let keys = asked.set.elements.iter().map(|element| &**element);
        let (mut yes, mut may) = (Vec::new(), Vec::new());
        for key in keys {
            let one = self.key(view, &asked.operands, &fields, key);
            yes.push(one.yes);
            may.push(one.may);
        }
        let (mut yes, may) = (space.union(yes), space.union(may));
        let mut may = space.minus(&may, &yes);
        let no = space.not(&space.or(&yes, &may));
        if asked.set.shrinks {
            may = space.or(&may, &yes);
            yes = space.nothing();
        }
        let no = if asked.set.grows {
            may = space.or(&may, &no);
            space.nothing()
        } else {
            no
        };
        Extent::Of(if sense.apply(true) { yes } else { no }, Some(may))
    }

    /// A map was asked: only packets for which it says the same go the same way.
    pub(crate) fn look_up(&mut self, view: &View<'_>, map: &TargetMap) {
        if !view.can_read(&map.operands) {
            return;
        }
        let fields = self.fields(view, &map.operands);
        if fields.iter().all(Option::is_none) {
            return;
        }
        let space = self.ground.space.clone();
        // The first entry that surely fits decides; those that may fit before it are asked about.
        let mut passed = Vec::new();
        for entry in &map.entries {
            let says = self.says(view, &map.operands, &entry.key);
            if says == Some(true) {
                let one = self.key(view, &map.operands, &fields, &entry.key);
                let before = space.union(passed);
                self.restrict(&one.yes);
                self.agree(false, &before);
                return;
            }
            let one = self.key(view, &map.operands, &fields, &entry.key);
            if says.is_none() {
                self.restrict(&one.may);
            } else {
                passed.push(space.or(&one.yes, &one.may));
            }
        }
        let fits = space.union(passed);
        self.agree(false, &fits);
    }

    fn says(&self, view: &View<'_>, operands: &[Operand], key: &[Interval]) -> Option<bool> {
        let mut result = Some(true);
        for (operand, interval) in operands.iter().zip(key) {
            match view.lies_in(operand, interval) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => result = None,
            }
        }
        result
    }

    /// Which packets a key fits.
    fn key(
        &self,
        view: &View<'_>,
        operands: &[Operand],
        fields: &[Option<Field>],
        key: &[Interval],
    ) -> Both {
        let space = &self.ground.space;
        let (mut yes, mut either) = (space.anything(), space.anything());
        for ((operand, field), interval) in operands.iter().zip(fields).zip(key) {
            match (field, interval) {
                (_, Interval::Numbers(0, u128::MAX)) => {}
                (Some(field), Interval::Numbers(first, last)) => {
                    let most = u128::MAX >> (128 - field.width(space.family()));
                    let function = self.ground.range(*field, *first, (*last).min(most));
                    yes = space.and(&yes, &function);
                    either = space.and(&either, &function);
                }
                _ => match view.lies_in(operand, interval) {
                    Some(true) => {}
                    Some(false) => (yes, either) = (space.nothing(), space.nothing()),
                    None => yes = space.nothing(),
                },
            }
        }
        Both { may: space.minus(&either, &yes), yes }
    }

    /// The field that each value comes from; none where it is the same for all packets.
    fn fields(&mut self, view: &View<'_>, operands: &[Operand]) -> Vec<Option<Field>> {
        operands.iter().map(|operand| self.field(view, operand)).collect()
    }

    fn field(&mut self, view: &View<'_>, operand: &Operand) -> Option<Field> {
        let packet = view.packet();
        let sent = *self.header();
        let from: Vec<Provenance> = match operand.selector {
            Selector::Source => self.address_from(packet.source),
            Selector::Destination => self.address_from(packet.destination),
            Selector::TupleAddress(field) => {
                let address = view.connection_address(field);
                address.map(|address| self.address_from(address)).unwrap_or_default()
            }
            Selector::SourcePort => self.ports_from(packet.source_port()),
            Selector::DestinationPort => self.ports_from(packet.destination_port()),
            Selector::TuplePort(_) => {
                // Rare: just these packets.
                for field in
                    [Field::SourcePort, Field::DestinationPort, Field::IcmpType, Field::IcmpCode]
                {
                    self.pin(field);
                }
                return None;
            }
            Selector::Protocol if packet.protocol == sent.protocol => {
                vec![Provenance::Sent(Field::Protocol)]
            }
            Selector::ConnectionProtocol => {
                self.pin(Field::Protocol);
                return None;
            }
            Selector::TcpFlags if packet.tcp_flags == sent.tcp_flags => {
                vec![Provenance::Sent(Field::TcpFlags)]
            }
            Selector::IcmpType => vec![Provenance::Sent(Field::IcmpType)],
            Selector::IcmpCode => vec![Provenance::Sent(Field::IcmpCode)],
            _ => Vec::new(),
        };
        match from.as_slice() {
            [] => None,
            [Provenance::Sent(field)]
                if operand.operations.is_empty() && self.reads(view, *field) =>
            {
                Some(*field)
            }
            several => {
                for from in several {
                    let (Provenance::Sent(field) | Provenance::Mapped(field, _)) = from;
                    self.pin(*field);
                }
                None
            }
        }
    }

    fn ports_from(&self, port: Option<u16>) -> Vec<Provenance> {
        let fields = port.map(|port| self.port_from(port)).unwrap_or_default();
        fields.into_iter().map(Provenance::Sent).collect()
    }

    /// Whether type and code of a packet are those that were sent.
    fn reads(&self, view: &View<'_>, field: Field) -> bool {
        use nattrace_model::packet::Transport;
        let sent = self.header().icmp;
        match (field, view.packet().transport) {
            (Field::IcmpType, Transport::Icmp { kind, .. }) => kind == sent.0,
            (Field::IcmpCode, Transport::Icmp { code, .. }) => code == sent.1,
            (Field::IcmpType | Field::IcmpCode, _) => false,
            _ => true,
        }
    }
}
