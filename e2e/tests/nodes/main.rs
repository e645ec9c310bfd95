//! The thread, end to end: a two-node cluster, the chart, the example's YAML files, and
//! the `openai` SDK.
//!
//! The stories run one after the other on one cluster, in the order of [`STORIES`]: some
//! take away what others stand on. Where a cluster cannot be had they are counted as
//! ignored, or as failed where `WEIR_E2E_REQUIRE_NODES` is set.

#![allow(
    clippy::print_stdout,
    reason = "it reports as the standard test runner does"
)]

mod answers;
mod autoscaler;
mod base;
mod budgets;
mod canary;
mod causes;
mod changes;
mod downloads;
mod endings;
mod engines;
mod faults;
mod installing;
mod network;
mod operators;
mod outside;
mod provider;
mod rights;
mod rolling;
mod routes;
mod runner;
mod sdk;
mod secrets;
mod shown;
mod spending;
mod stage;
mod tenants;
mod traffic;

use std::process::ExitCode;

use runner::{Story, story};

/// Every story, in the order in which they run.
const STORIES: &[Story] = &[
    story!(base::pods_run_on_both_nodes_restricted_and_within_their_limits),
    story!(base::a_service_answers_by_its_name_in_pods_and_by_its_address_on_nodes),
    story!(base::a_network_policy_blocks_whom_it_does_not_name),
    story!(installing::our_images_are_built_from_their_dockerfiles),
    story!(installing::the_chart_passes_its_lint_and_installs),
    story!(installing::the_example_applied_as_it_is_becomes_ready),
    story!(shown::the_docs_show_what_kubectl_prints),
    story!(rights::no_program_of_ours_may_more_than_the_docs_say_nor_read_a_secret),
    story!(rights::who_may_edit_a_namespace_may_edit_both_kinds_in_it),
    story!(network::each_reaches_whom_it_needs_and_nobody_else),
    story!(answers::a_clear_ticket_is_answered_by_the_small_model),
    story!(answers::an_ambiguous_ticket_is_answered_by_the_frontier_and_nothing_small_leaks),
    story!(answers::a_pod_asks_by_service_name_and_gets_the_same_answers),
    story!(answers::the_same_model_is_served_from_a_volume),
    story!(routes::a_real_model_says_where_asks_begin_and_how_long_they_are),
    story!(downloads::a_model_of_a_hub_comes_once_and_is_there_for_the_next_replica),
    story!(autoscaler::an_autoscaler_of_kubernetes_sets_the_count_and_nobody_fights_it),
    story!(causes::every_reason_is_reached_by_its_real_cause_and_told),
    story!(engines::a_server_of_anothers_is_a_tier_and_rolls_as_any_other),
    story!(canary::a_canary_is_promoted_under_a_hundred_streams_and_none_is_cut),
    story!(canary::a_canary_that_is_less_sure_is_rolled_back_by_itself_and_none_is_cut),
    story!(tenants::a_second_tenant_is_served_from_its_own_namespace),
    story!(changes::requests_are_served_while_the_operator_is_away),
    story!(changes::requests_are_served_again_after_an_idle_worker_is_deleted),
    story!(rolling::a_roll_of_routers_cuts_no_stream),
    story!(changes::a_router_that_starts_while_the_api_server_is_away_serves_what_it_last_saw),
    story!(changes::an_invalid_update_of_a_policy_leaves_the_old_one_serving),
    story!(secrets::a_missing_secret_disables_only_its_tier_until_it_appears),
    story!(outside::an_endpoint_is_asked_only_where_its_authority_is_known),
    story!(outside::records_are_in_a_store_once_its_credentials_are_right),
    story!(endings::deleting_the_example_leaves_nothing_of_ours),
    story!(tenants::the_second_tenant_was_left_alone),
    story!(endings::uninstalling_leaves_users_objects_served_and_a_new_install_takes_them_up),
    story!(outside::what_leaves_the_cluster_goes_by_the_proxy_of_the_chart),
    story!(budgets::two_routers_spend_a_budget_to_its_limit_and_no_further),
    story!(budgets::what_a_killed_router_held_counts_as_spent),
    story!(budgets::the_next_leader_goes_on_from_what_the_last_one_granted),
    story!(faults::a_namespace_with_two_routers_and_two_replicas_is_served),
    story!(faults::routers::a_killed_router_cuts_a_hundred_streams_as_broken_and_the_next_try_of_each_is_answered),
    story!(faults::workers::all_workers_killed_at_once_cost_no_client_an_answer),
    story!(faults::workers::a_worker_out_of_memory_costs_no_client_an_answer_and_is_told_of_by_its_reason),
    story!(faults::control::without_the_api_server_asks_are_answered_and_nothing_is_restarted),
    story!(rights::an_install_for_named_namespaces_has_no_rights_in_others),
];

/// What goes wrong in a cluster, in full length.
const FAULTS: &[Story] = &[
    story!(installing::our_images_are_built_from_their_dockerfiles),
    story!(installing::the_chart_passes_its_lint_and_installs),
    story!(faults::a_namespace_with_two_routers_and_two_replicas_is_served),
    story!(faults::routers::a_killed_router_cuts_a_hundred_streams_as_broken_and_the_next_try_of_each_is_answered),
    story!(faults::workers::all_workers_killed_at_once_cost_no_client_an_answer),
    story!(faults::workers::a_worker_out_of_memory_costs_no_client_an_answer_and_is_told_of_by_its_reason),
    story!(faults::control::without_the_api_server_asks_are_answered_and_nothing_is_restarted),
    story!(faults::control::a_restart_of_etcd_costs_no_answer_and_restarts_nothing),
    story!(faults::nodes::kubelet_and_containerd_killed_cost_no_answer_and_restart_no_pod),
    story!(faults::namespaces::a_namespace_deleted_in_mid_rollout_ends_and_disturbs_nobody),
    story!(faults::writers::what_a_hand_changes_every_second_is_put_back_without_a_war),
    story!(faults::statuses::with_statuses_closed_asks_are_answered_and_replicas_made_and_all_is_told_afterwards),
    story!(faults::statuses::objects_restored_without_their_status_are_served_at_once_and_nothing_is_restarted),
    story!(faults::control::without_any_operator_asks_are_answered_and_changes_wait_for_it),
];

fn main() -> ExitCode {
    if weir_e2e::faults_asked_for() {
        return runner::main(FAULTS, true);
    }
    runner::main(STORIES, false)
}
