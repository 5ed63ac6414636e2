//! The declared matches, one file each; each begins with the table of its options and values.

pub mod addrtype;
mod ah;
mod bpf;
mod cgroup;
mod cluster;
mod comment;
mod connbytes;
mod connlabel;
mod connlimit;
mod connmark;
pub mod conntrack;
mod cpu;
mod dccp;
mod devgroup;
mod dscp;
mod dst;
mod ecn;
mod esp;
mod eui64;
mod frag;
mod hashlimit;
mod hbh;
mod helper;
mod hl;
mod icmp;
mod icmp6;
mod ipcomp;
mod iprange;
pub mod ipv6header;
mod ipvs;
mod length;
mod limit;
mod mac;
mod mark;
mod mh;
mod multiport;
pub(crate) mod native;
mod nfacct;
mod osf;
mod owner;
mod physdev;
mod pkttype;
mod policy;
mod quota;
mod rateest;
mod realm;
mod recent;
mod rpfilter;
mod rt;
mod sctp;
mod set;
mod socket;
mod srh;
mod state;
mod statistic;
mod string;
mod tcp;
mod tcpmss;
mod time;
mod tos;
mod ttl;
mod u32;
mod udp;

use crate::extension::Extension;

/// All of them, by name.
pub(crate) static ALL: &[&Extension] = &[
    &addrtype::EXTENSION,
    &ah::EXTENSION,
    &bpf::EXTENSION,
    &cgroup::EXTENSION,
    &cluster::EXTENSION,
    &comment::EXTENSION,
    &connbytes::EXTENSION,
    &connlabel::EXTENSION,
    &connlimit::EXTENSION,
    &connmark::EXTENSION,
    &conntrack::EXTENSION,
    &cpu::EXTENSION,
    &dccp::EXTENSION,
    &devgroup::EXTENSION,
    &dscp::EXTENSION,
    &dst::EXTENSION,
    &ecn::EXTENSION,
    &esp::EXTENSION,
    &eui64::EXTENSION,
    &frag::EXTENSION,
    &hashlimit::EXTENSION,
    &hbh::EXTENSION,
    &helper::EXTENSION,
    &hl::EXTENSION,
    &icmp::EXTENSION,
    &icmp6::EXTENSION,
    &ipcomp::EXTENSION,
    &iprange::EXTENSION,
    &ipvs::EXTENSION,
    &ipv6header::EXTENSION,
    &length::EXTENSION,
    &limit::EXTENSION,
    &mac::EXTENSION,
    &mark::EXTENSION,
    &mh::EXTENSION,
    &multiport::EXTENSION,
    &nfacct::EXTENSION,
    &osf::EXTENSION,
    &owner::EXTENSION,
    &physdev::EXTENSION,
    &pkttype::EXTENSION,
    &policy::EXTENSION,
    &quota::EXTENSION,
    &rateest::EXTENSION,
    &realm::EXTENSION,
    &recent::EXTENSION,
    &rpfilter::EXTENSION,
    &rt::EXTENSION,
    &sctp::EXTENSION,
    &set::EXTENSION,
    &socket::EXTENSION,
    &srh::EXTENSION,
    &state::EXTENSION,
    &statistic::EXTENSION,
    &string::EXTENSION,
    &tcp::EXTENSION,
    &tcpmss::EXTENSION,
    &time::EXTENSION,
    &tos::EXTENSION,
    &ttl::EXTENSION,
    &u32::EXTENSION,
    &udp::EXTENSION,
];
