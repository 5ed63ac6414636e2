//! Matches with a word of their own and a plain value: pkttype, cpu, realm, helper, cgroup,
//! cluster, connlabel, osf.

use super::{Extra, Head, Setting};
use crate::listing::piece::Cursor;

impl<'a> Extra<'a> {
    pub(super) fn keyed(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        if head.negated {
            return None;
        }
        match head.word.text {
            "PKTTYPE" => {
                let negated = match cursor.next()?.text {
                    "=" => false,
                    "!=" => true,
                    _ => return None,
                };
                let kind = cursor.next()?;
                self.begin("pkttype", head.word.span());
                self.set(Setting::new("pkt-type", kind.text, head.to(cursor)).negated(negated));
                Some(())
            }
            "cpu" => self.simple(cursor, head, "cpu", "cpu"),
            "realm" => self.simple(cursor, head, "realm", "realm"),
            "helper" if cursor.eat("match") => {
                let (negated, name) = cursor.negatable()?;
                let name = name.strip_prefix("\"")?;
                let name = name.take(name.text.strip_suffix('"')?.len());
                self.begin("helper", head.word.span());
                self.set(Setting::new("helper", name.text, head.to(cursor)).negated(negated));
                Some(())
            }
            "cgroup" => {
                let (negated, group) = cursor.negatable()?;
                let number = group.text.bytes().all(|byte| byte.is_ascii_digit());
                let option = if number { "cgroup" } else { "path" };
                self.begin("cgroup", head.word.span());
                self.set(Setting::new(option, group.text, head.to(cursor)).negated(negated));
                Some(())
            }
            "cluster" => self.cluster(cursor, head),
            "connlabel" => {
                let (negated, label) = cursor.negatable()?;
                self.begin("connlabel", head.word.span());
                self.set(Setting::new("label", label.text, label.span()).negated(negated));
                self.flags(cursor, &["set"], "");
                Some(())
            }
            "OS" if cursor.eat("fingerprint match") => {
                self.simple(cursor, head, "osf", "genre")?;
                self.lossy("a listing does not show `--ttl` and `--log` of `osf`", head.to(cursor));
                Some(())
            }
            _ => None,
        }
    }

    /// `cluster node_mask=0x00000001 total_nodes=2 hash_seed=0x0000dead`.
    fn cluster(&mut self, cursor: &mut Cursor<'a>, head: Head<'a>) -> Option<()> {
        let (negated, mask) = cursor.negatable()?;
        let mask = mask.strip_prefix("node_mask=")?;
        let total = cursor.eat_prefix("total_nodes=")?;
        let seed = cursor.eat_prefix("hash_seed=")?;
        self.begin("cluster", head.word.span());
        self.set(Setting::new("cluster-local-nodemask", mask.text, mask.span()).negated(negated));
        self.set(Setting::new("cluster-total-nodes", total.text, total.span()));
        self.set(Setting::new("cluster-hash-seed", seed.text, seed.span()));
        Some(())
    }
}
