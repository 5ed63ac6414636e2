//! The lints, one file each.

use super::Lint;

mod asymmetric_reply_route;
mod ban_chain_ineffective;
mod bridge_nf_surprise;
mod cgnat_drop_conflict;
mod container_manager_chains_missing;
mod direct_route_exposure;
mod dnat_captures_transit;
mod dnat_dead_target;
mod dnat_shadowed_duplicate;
mod docker_user_host_port_after_dnat;
mod docker_user_not_hooked;
mod docker_user_rule_after_return;
mod duplicate_rule;
mod egress_source_ambiguous;
mod forward_drop_blocks_other_bridge;
mod hairpin_broken;
mod interface_never_matches;
mod ip_forward_disabled;
mod ipv6_policy_mismatch;
mod killswitch_leak;
mod loopback_publish_reachable;
mod mark_bit_collision;
mod masquerade_missing;
mod masquerade_too_broad;
mod metadata_reachable;
mod mixed_iptables_backends;
mod mtu_mismatch_no_mss_clamp;
mod nodeport_bypasses_host_firewall;
mod persisted_runtime_rules;
mod published_port_bypasses_input;
mod raw_drop_overrides_docker_user;
mod reply_path_dropped;
mod route_localnet_exposure;
mod sensitive_port_world_reachable;
mod snat_address_not_local;
mod snat_shadowed_by_masquerade;
mod stale_container_rule;
mod subnet_overlap;
mod unreachable_rule;
mod unsupported_match;
mod volatile_match;

/// The code of a lint, as `nattrace explain` knows it.
type CodeOf = &'static str;

/// All lints, in the order in which their findings are told.
pub(super) const LINTS: &[Lint] = &[
    Lint { code: published_port_bypasses_input::CODE, find: published_port_bypasses_input::find },
    Lint { code: sensitive_port_world_reachable::CODE, find: sensitive_port_world_reachable::find },
    Lint {
        code: docker_user_host_port_after_dnat::CODE,
        find: docker_user_host_port_after_dnat::find,
    },
    Lint { code: unreachable_rule::CODE, find: unreachable_rule::find },
    Lint { code: docker_user_rule_after_return::CODE, find: docker_user_rule_after_return::find },
    Lint { code: docker_user_not_hooked::CODE, find: docker_user_not_hooked::find },
    Lint { code: snat_shadowed_by_masquerade::CODE, find: snat_shadowed_by_masquerade::find },
    Lint { code: snat_address_not_local::CODE, find: snat_address_not_local::find },
    Lint { code: egress_source_ambiguous::CODE, find: egress_source_ambiguous::find },
    Lint { code: masquerade_missing::CODE, find: masquerade_missing::find },
    Lint { code: masquerade_too_broad::CODE, find: masquerade_too_broad::find },
    Lint { code: dnat_captures_transit::CODE, find: dnat_captures_transit::find },
    Lint { code: dnat_dead_target::CODE, find: dnat_dead_target::find },
    Lint { code: dnat_shadowed_duplicate::CODE, find: dnat_shadowed_duplicate::find },
    Lint { code: reply_path_dropped::CODE, find: reply_path_dropped::find },
    Lint {
        code: container_manager_chains_missing::CODE,
        find: container_manager_chains_missing::find,
    },
    Lint { code: stale_container_rule::CODE, find: stale_container_rule::find },
    Lint { code: interface_never_matches::CODE, find: interface_never_matches::find },
    Lint { code: volatile_match::CODE, find: volatile_match::find },
    Lint {
        code: forward_drop_blocks_other_bridge::CODE,
        find: forward_drop_blocks_other_bridge::find,
    },
    Lint { code: direct_route_exposure::CODE, find: direct_route_exposure::find },
    Lint { code: loopback_publish_reachable::CODE, find: loopback_publish_reachable::find },
    Lint { code: route_localnet_exposure::CODE, find: route_localnet_exposure::find },
    Lint { code: ipv6_policy_mismatch::CODE, find: ipv6_policy_mismatch::find },
    Lint { code: mixed_iptables_backends::CODE, find: mixed_iptables_backends::find },
    Lint { code: ban_chain_ineffective::CODE, find: ban_chain_ineffective::find },
    Lint { code: killswitch_leak::CODE, find: killswitch_leak::find },
    Lint { code: subnet_overlap::CODE, find: subnet_overlap::find },
    Lint { code: asymmetric_reply_route::CODE, find: asymmetric_reply_route::find },
    Lint { code: mark_bit_collision::CODE, find: mark_bit_collision::find },
    Lint { code: ip_forward_disabled::CODE, find: ip_forward_disabled::find },
    Lint { code: hairpin_broken::CODE, find: hairpin_broken::find },
    Lint { code: bridge_nf_surprise::CODE, find: bridge_nf_surprise::find },
    Lint { code: raw_drop_overrides_docker_user::CODE, find: raw_drop_overrides_docker_user::find },
    Lint {
        code: nodeport_bypasses_host_firewall::CODE,
        find: nodeport_bypasses_host_firewall::find,
    },
    Lint { code: metadata_reachable::CODE, find: metadata_reachable::find },
    Lint { code: cgnat_drop_conflict::CODE, find: cgnat_drop_conflict::find },
    Lint { code: persisted_runtime_rules::CODE, find: persisted_runtime_rules::find },
    Lint { code: duplicate_rule::CODE, find: duplicate_rule::find },
    Lint { code: mtu_mismatch_no_mss_clamp::CODE, find: mtu_mismatch_no_mss_clamp::find },
    Lint { code: unsupported_match::CODE, find: unsupported_match::find },
];
