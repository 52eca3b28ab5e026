//! `/clusters`: the clusters of this process, and those of the user's environments: choose one.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use axum::{Extension, Router};
use gristmill_broker::Operation;
use maud::{Markup, html};

use super::layout::{Frame, NoPage, Section, badge, nothing, segment};
use crate::http::environments;
use crate::http::failure::Failure;
use crate::http::site::{BUILT_IN, NamedCluster, Site};
use crate::http::visitor::Visitor;
use crate::profiles::{ClusterProfile, Environment, Profiles};

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/clusters", get(show))
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Html<String>, NoPage> {
    let sees_all = site.may(&visitor, Operation::Describe);
    let profiles = (sees_all && site.shows_profiles()).then(environments::read);
    let frame = Frame { title: "Clusters", section: Section::Clusters, live: None };
    let ours = site.clusters.iter().filter(|named| named.is_built_in() || sees_all);
    Ok(frame.around(html! {
        h1 { "Clusters" }
        section { h2 { "Of this process" } (of_process(&site, ours.collect())) }
        @match &profiles {
            Some(Ok(profiles)) => (of_environments(&site, profiles)),
            Some(Err(failure)) => (unreadable(failure)),
            None => {},
        }
    }))
}

fn of_process(site: &Site, clusters: Vec<&NamedCluster>) -> Markup {
    let address = |named: &NamedCluster| match site.built_in(named) {
        Some(built_in) => built_in.addresses.join(", "),
        None => named.cluster.bootstrap.clone(),
    };
    let from = |named: &NamedCluster| match named.is_built_in() {
        true => "the built-in broker",
        false => "a pipeline’s file",
    };
    html! {
        @if clusters.is_empty() {
            (nothing("No broker runs here, and no pipeline names a cluster.", html! {}))
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Clusters of this process" {
                table {
                    thead { tr { th scope="col" { "Cluster" } th scope="col" { "Address" } th scope="col" { "Known from" } } }
                    tbody {
                        @for named in clusters {
                            tr {
                                th scope="row" { a href=(topics_path(&named.name)) { (named.name) } }
                                td.mono { (address(named)) }
                                td { (from(named)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn of_environments(site: &Site, profiles: &Profiles) -> Markup {
    html! {
        @for (name, environment) in &profiles.environments {
            section {
                h2 {
                    "Environment " (name) " "
                    @if *name == profiles.environment { (badge("good", "in use")) }
                }
                (environment_table(site, name, environment))
            }
        }
        p.hint {
            "Environments are those of " code { "gristmill environment list" } "; make a cluster known with "
            code { "gristmill kafka cluster create NAME --bootstrap HOST:PORT" } "."
        }
    }
}

fn environment_table(site: &Site, name: &str, environment: &Environment) -> Markup {
    let path = |cluster: &str, profile: &ClusterProfile| match is_built_in(site, profile) {
        true => topics_path(BUILT_IN),
        false => topics_path(&environments::address_name(name, cluster)),
    };
    html! {
        @if environment.clusters.is_empty() {
            (nothing("No cluster yet.", html! {}))
        } @else {
            div.scroll tabindex="0" role="region" aria-label={ "Clusters of environment " (name) } {
                table {
                    thead {
                        tr {
                            th scope="col" { "Cluster" } th scope="col" { "Address" }
                            th scope="col" { "Protocol" } th scope="col" { "API key" }
                        }
                    }
                    tbody {
                        @for (cluster, profile) in &environment.clusters {
                            tr {
                                th scope="row" {
                                    a href=(path(cluster, profile)) { (cluster) } " "
                                    @if environment.cluster.as_ref() == Some(cluster) { (badge("calm", "in use")) }
                                }
                                td.mono { (profile.bootstrap) }
                                td { (profile.security_protocol()) }
                                td.mono {
                                    @match (&profile.api_key, profile.lacks_login()) {
                                        (Some(key), _) => (key),
                                        (None, true) => span.bad-text { "none" },
                                        (None, false) => "—",
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The profile leads to the broker of this process.
pub fn is_built_in(site: &Site, profile: &ClusterProfile) -> bool {
    let addresses = site.broker.as_ref().map(|broker| &broker.addresses);
    addresses.is_some_and(|addresses| addresses.contains(&profile.bootstrap))
}

fn unreadable(failure: &Failure) -> Markup {
    html! { section { h2 { "Environments" } p.alert { (failure.message()) } } }
}

fn topics_path(cluster: &str) -> String {
    format!("/clusters/{}/topics", segment(cluster))
}
