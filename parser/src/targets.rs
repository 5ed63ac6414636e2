//! The declared targets, one file each; each begins with the table of its options and values.

mod audit;
mod checksum;
mod classify;
mod clusterip;
mod connmark;
mod connsecmark;
mod ct;
mod dnat;
mod dnpt;
mod dscp;
mod ecn;
mod hl;
mod hmark;
mod idletimer;
mod led;
mod log;
mod mark;
mod masquerade;
mod nat_ports;
mod netmap;
mod nflog;
mod nfqueue;
mod notrack;
mod npt;
mod rateest;
mod redirect;
mod reject;
mod secmark;
mod set;
mod snat;
mod snpt;
mod synproxy;
mod tcpmss;
mod tcpoptstrip;
mod tee;
mod tos;
mod tproxy;
mod trace;
mod ttl;
mod ulog;

use crate::extension::Extension;

/// All of them, by name.
pub(crate) static ALL: &[&Extension] = &[
    &audit::EXTENSION,
    &checksum::EXTENSION,
    &classify::EXTENSION,
    &clusterip::EXTENSION,
    &connmark::EXTENSION,
    &connsecmark::EXTENSION,
    &ct::EXTENSION,
    &dnat::EXTENSION,
    &dnpt::EXTENSION,
    &dscp::EXTENSION,
    &ecn::EXTENSION,
    &hl::EXTENSION,
    &hmark::EXTENSION,
    &idletimer::EXTENSION,
    &led::EXTENSION,
    &log::EXTENSION,
    &mark::EXTENSION,
    &masquerade::EXTENSION,
    &netmap::EXTENSION,
    &nflog::EXTENSION,
    &nfqueue::EXTENSION,
    &notrack::EXTENSION,
    &rateest::EXTENSION,
    &redirect::EXTENSION,
    &reject::EXTENSION,
    &secmark::EXTENSION,
    &set::EXTENSION,
    &snat::EXTENSION,
    &snpt::EXTENSION,
    &synproxy::EXTENSION,
    &tcpmss::EXTENSION,
    &tcpoptstrip::EXTENSION,
    &tee::EXTENSION,
    &tos::EXTENSION,
    &tproxy::EXTENSION,
    &trace::EXTENSION,
    &ttl::EXTENSION,
    &ulog::EXTENSION,
];
