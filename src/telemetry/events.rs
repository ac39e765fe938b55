//! What happens, one function a happening: each counts and logs it once.

use ::metrics::{counter, gauge, histogram};

use super::metrics as names;
use crate::domain::notification::Audience;
use crate::domain::time::EpochMs;

/// The queue took a notification.
pub fn accepted(to: &Audience) {
    let audience = match to {
        Audience::User(_) => "user",
        Audience::Topic(_) => "topic",
        Audience::Everyone => "everyone",
    };
    counter!(names::ACCEPTED, "audience" => audience).increment(1);
}

/// The door refused a notification.
pub fn refused(code: &'static str) {
    counter!(names::REFUSED, "code" => code).increment(1);
}

/// A notification entered the record.
pub fn stored(created: EpochMs, now: EpochMs) {
    counter!(names::STORED).increment(1);
    histogram!(names::ACCEPT_TO_STORED).record(seconds(created, now));
}

/// The record had it already.
pub fn duplicate() {
    counter!(names::DUPLICATES).increment(1);
}

/// An entry can never pass.
/// `by`: the plugin that rejected it or failed, and what it said or how.
pub fn dead_letter(id: &str, sequence: u64, reason: &'static str, by: Option<(&str, &str)>) {
    counter!(names::DEAD_LETTERS, "reason" => reason).increment(1);
    let (plugin, detail) = by.unzip();
    tracing::warn!(id, sequence, reason, plugin, detail, "dead letter");
}

/// A session gets a notification for the first time. `created` is given for what came live: a replay's age says nothing of this server.
pub fn delivered(created: Option<EpochMs>, now: EpochMs) {
    counter!(names::DELIVERED).increment(1);
    if let Some(created) = created {
        histogram!(names::ACCEPT_TO_DELIVERED).record(seconds(created, now));
    }
}

/// A session gets a notification again.
pub fn resent() {
    counter!(names::RESENT).increment(1);
}

/// A session gets what asks for no confirmation.
pub fn broadcast() {
    counter!(names::BROADCAST).increment(1);
}

/// A session's attempts for a notification are over.
pub fn given_up() {
    counter!(names::GIVEN_UP).increment(1);
}

/// A full window or mailbox lost a delivery that has no record.
pub fn dropped() {
    counter!(names::DROPPED).increment(1);
}

/// A confirmation wrote an outcome.
pub fn acked(created: EpochMs, now: EpochMs) {
    counter!(names::ACKED).increment(1);
    counter!(names::ENDED, "outcome" => "confirmed").increment(1);
    histogram!(names::ACCEPT_TO_ACKED).record(seconds(created, now));
}

/// Retention removed rows; some of them were never confirmed.
pub fn swept(expired: u64, removed: u64) {
    counter!(names::ENDED, "outcome" => "expired").increment(expired);
    tracing::info!(expired, removed, "retention");
}

/// A transport connection opened.
pub fn connection_opened() {
    gauge!(names::CONNECTIONS).increment(1.0);
}

/// A transport connection ended, for a reason of the closed set in `session::disconnect`.
pub fn connection_closed(reason: &'static str, user: Option<&str>, detail: &str) {
    gauge!(names::CONNECTIONS).decrement(1.0);
    counter!(names::CLOSED, "reason" => reason).increment(1);
    tracing::debug!(reason, user, detail, "connection closed");
}

/// A client's turn came, after this wait.
pub fn admitted(wait: std::time::Duration) {
    counter!(names::ADMITTED).increment(1);
    histogram!(names::ADMISSION_WAIT).record(wait);
}

/// A client is asked to come back later.
pub fn sent_away() {
    counter!(names::SENT_AWAY).increment(1);
}

/// A client waits for its turn.
pub fn waiting_began() {
    gauge!(names::ADMISSION_WAITING).increment(1.0);
}

/// It does no longer.
pub fn waiting_ended() {
    gauge!(names::ADMISSION_WAITING).decrement(1.0);
}

/// A client's command was refused before a plugin was asked, for a reason of the closed set in the table.
pub fn command_refused(reason: &'static str) {
    counter!(names::COMMANDS_REFUSED, "reason" => reason).increment(1);
}

/// Two plugins serve a command; `by` gets it.
pub fn command_contested(command: &str, by: &str, other: &str) {
    tracing::warn!(
        command,
        by,
        other,
        "two plugins serve this command; the first in their order gets it"
    );
}

/// A request for a session was refused before it began, for a reason of the closed set in the table.
pub fn session_refused(reason: &'static str) {
    counter!(names::SESSIONS_REFUSED, "reason" => reason).increment(1);
}

/// A session was authenticated.
pub fn session_opened(user: &str, version: &'static str) {
    gauge!(names::SESSIONS).increment(1.0);
    counter!(names::OPENED, "version" => version).increment(1);
    tracing::debug!(user, version, "session opened");
}

/// A session that was authenticated ended.
pub fn session_ended() {
    gauge!(names::SESSIONS).decrement(1.0);
}

/// The record failed a call; `held` says what waits for it.
pub fn record_failed(verb: &'static str, error: &dyn std::fmt::Display, held: usize) {
    counter!(names::RECORD_ERRORS, "verb" => verb).increment(1);
    tracing::error!(verb, %error, held, "the record failed; trying again");
}

/// A bell may not have been heard; the record covers for it.
pub fn bell_lost(error: &dyn std::fmt::Display) {
    counter!(names::BELLS_LOST).increment(1);
    tracing::warn!(%error, "a bell was lost");
}

/// Envelopes went out on the topic.
pub fn topic_published(count: usize) {
    counter!(names::TOPIC_PUBLISHED).increment(count as u64);
}

/// An envelope came over the topic.
pub fn topic_heard() {
    counter!(names::TOPIC_HEARD).increment(1);
}

/// What came over the topic says nothing to this node.
pub fn topic_unread(reason: &'static str) {
    counter!(names::TOPIC_UNREAD, "reason" => reason).increment(1);
    tracing::debug!(reason, "dropped what came over the topic");
}

/// This node hears what is published.
pub fn topic_up() {
    gauge!(names::TOPIC_UP).set(1.0);
    tracing::info!("the topic is heard");
}

/// This node hears nothing any more, or can't say.
pub fn topic_down(reason: &dyn std::fmt::Display) {
    gauge!(names::TOPIC_UP).set(0.0);
    counter!(names::TOPIC_BREAKS).increment(1);
    tracing::error!(%reason, "the topic is away: the record is read instead, and sessions are counted on this node alone");
}

/// Users whose channel is subscribed to.
pub fn topic_channels(count: usize) {
    gauge!(names::TOPIC_CHANNELS).set(count as f64);
}

/// A session was admitted while the cluster's roll was away.
pub fn roll_alone() {
    counter!(names::ROLL_ALONE).increment(1);
}

/// The roll can't be used while the topic is heard.
pub fn roll_away(reason: &str) {
    tracing::error!(reason, "the roll is away: sessions are counted on this node alone");
}

/// This node's lease had ended, or the roll was lost.
pub fn roll_lapsed() {
    counter!(names::ROLL_LAPSED).increment(1);
    tracing::warn!("this node's lease on the roll had ended; entering all its sessions anew");
}

/// A session is over its user's cap.
pub fn roll_given_up() {
    counter!(names::ROLL_GIVEN_UP).increment(1);
}

/// The tail rang for rows whose bells may be lost.
pub fn tail_rung(rows: usize) {
    counter!(names::TAIL_RUNG).increment(rows as u64);
}

/// How many revocations are held.
pub fn revocations(held: usize) {
    gauge!(names::REVOCATIONS).set(held as f64);
}

/// Somebody took tokens back: one by its id, or a user's. `told` is whether the topic told the other nodes.
pub fn revoked(by: &str, token_id: Option<&str>, user: Option<&str>, told: bool) {
    tracing::info!(by, token_id, user, told, "tokens were revoked");
}

/// The record answers again.
pub fn record_recovered(verb: &'static str) {
    tracing::info!(verb, "the record answers again");
}

/// The record failed here for so long that another node gets the lane.
pub fn lane_given_back(lane: u32, error: &dyn std::fmt::Display) {
    counter!(names::LANES_GIVEN_BACK).increment(1);
    tracing::warn!(lane, %error, "the record fails here; the lane is given to another node, which may do better");
}

/// The queue's state, sampled.
pub fn queue_sampled(last_sequence: u64, pending: u64) {
    gauge!(names::QUEUE_SEQUENCE).set(last_sequence as f64);
    gauge!(names::QUEUE_PENDING).set(pending as f64);
}

/// The record's tallies, sampled.
pub fn record_sampled(open: u64, tallies: impl Iterator<Item = (&'static str, u64)>) {
    gauge!(names::RECORD_OPEN).set(open as f64);
    for (tally, count) in tallies {
        gauge!(names::RECORD_TALLY, "tally" => tally).set(count as f64);
    }
}

fn seconds(from: EpochMs, to: EpochMs) -> f64 {
    to.saturating_sub(from).max(0) as f64 / 1_000.0
}

/// There was a question for a plugin's hook; if it was asked, this is what it took. If it failed, that is for a reason of the closed set in the
/// table. `plugin` is a name of the configuration.
pub fn hook_asked(plugin: &str, hook: &'static str, took: Option<std::time::Duration>, failed: Option<&'static str>) {
    if let Some(took) = took {
        histogram!(names::HOOK_SECONDS, "plugin" => plugin.to_owned(), "hook" => hook).record(took);
    }
    if let Some(reason) = failed {
        counter!(names::HOOK_FAILED, "plugin" => plugin.to_owned(), "hook" => hook, "reason" => reason).increment(1);
    }
}

/// A plugin failed, for the first time in a while, or so often since this was last told.
pub fn hook_failing(plugin: &str, hook: &'static str, reason: &'static str, failure: &str, count: u64) {
    tracing::warn!(plugin, hook, reason, failure, count, "a question to a plugin failed");
}

/// A hook failed so often in a row that it is left alone for a while.
pub fn hook_left_alone(plugin: &str, hook: &'static str, failure: &str) {
    hook_open(plugin, hook, true);
    tracing::error!(
        plugin,
        hook,
        failure,
        "a plugin failed too often and is left alone for a while"
    );
}

/// It answered again.
pub fn hook_recovered(plugin: &str, hook: &'static str) {
    hook_open(plugin, hook, false);
    tracing::info!(plugin, hook, "a plugin answers again");
}

/// Whether a hook is left alone now.
pub fn hook_open(plugin: &str, hook: &'static str, is_open: bool) {
    gauge!(names::HOOK_OPEN, "plugin" => plugin.to_owned(), "hook" => hook).set(f64::from(u8::from(is_open)));
}

/// An instance of a plugin was heard for the first time. `plugin` is a name of the configuration.
pub fn plugin_instance_came(plugin: &str, id: &str, version: &str) {
    tracing::info!(plugin, id, version, "an instance of a plugin attached");
}

/// It has been silent for a lease.
pub fn plugin_instance_gone(plugin: &str, id: &str) {
    tracing::info!(plugin, id, "an instance of a plugin is gone");
}

/// The first instance of a plugin attached, or the last one left.
pub fn plugin_attached(plugin: &str, is_attached: bool) {
    match is_attached {
        true => tracing::info!(plugin, "a plugin is attached"),
        false => tracing::warn!(plugin, "a plugin is no longer attached"),
    }
}

/// So many instances of a plugin are attached.
pub fn plugin_instances(plugin: &str, instances: usize) {
    gauge!(names::PLUGIN_INSTANCES, "plugin" => plugin.to_owned()).set(instances as f64);
}

/// The configuration allows a plugin these hooks: what is counted of it begins at 0, so that a rate has a beginning.
pub fn plugin_allowed(plugin: &str, hooks: &[&'static str], reasons: &[&'static str]) {
    gauge!(names::PLUGIN_INSTANCES, "plugin" => plugin.to_owned()).set(0.0);
    counter!(names::PLUGIN_REFUSED, "plugin" => plugin.to_owned()).increment(0);
    for reason in ["flood", "misnamed", "unreadable"] {
        counter!(names::PLUGIN_ANSWERS_REFUSED, "plugin" => plugin.to_owned(), "reason" => reason).increment(0);
    }
    for &hook in hooks {
        gauge!(names::HOOK_OPEN, "plugin" => plugin.to_owned(), "hook" => hook).set(0.0);
        let _ = histogram!(names::HOOK_SECONDS, "plugin" => plugin.to_owned(), "hook" => hook);
        for &reason in reasons {
            counter!(names::HOOK_FAILED, "plugin" => plugin.to_owned(), "hook" => hook, "reason" => reason)
                .increment(0);
        }
    }
}

/// An instance may not attach as it is.
pub fn plugin_refused(plugin: &str, id: &str, reason: &str, mend: &str) {
    counter!(names::PLUGIN_REFUSED, "plugin" => plugin.to_owned()).increment(1);
    tracing::warn!(plugin, id, reason, mend, "an instance of a plugin was refused");
}

/// An instance offers or asks for more than it may; the rest of it is used. Told once.
pub fn plugin_left_out(plugin: &str, id: &str, reason: &str, mend: &str) {
    tracing::warn!(plugin, id, reason, mend, "a part of what a plugin offers is left out");
}

/// An instance came that minds being passed by, and the configuration lets everything pass while it is away.
pub fn plugin_passed_when_absent(plugin: &str, id: &str, on_failure: &'static str) {
    tracing::warn!(
        plugin,
        id,
        on_failure,
        "a plugin's metadata says what its failure means, but while it is absent everything passes by it: say attach.plugins.{plugin}.required"
    );
}

/// What is decided about a plugin can't be read; it counts as disabled.
pub fn plugin_decision_unreadable(plugin: &str, error: &dyn std::fmt::Display) {
    tracing::warn!(plugin, %error, "what is decided about a plugin can't be read, so it counts as disabled; enable it, or disable it anew");
}

/// The bucket of decisions is kept as it is, not as attach.replicas says.
pub fn plugin_decisions_not_replicated(replicas: usize, error: &dyn std::fmt::Display) {
    tracing::warn!(replicas, %error, "what is decided about plugins is not kept by as many servers as attach.replicas says");
}

/// A plugin is there that the configuration doesn't name.
pub fn plugin_not_allowed(name: &str) {
    tracing::warn!(
        name,
        "a plugin that may not attach is there; to allow it, say attach.plugins.{name}"
    );
}

/// So many answers to the question about a plugin were left out; `is_new`: those of the round before were not.
pub fn plugin_answers_refused(plugin: &str, reason: &'static str, count: u64, is_new: bool) {
    counter!(names::PLUGIN_ANSWERS_REFUSED, "plugin" => plugin.to_owned(), "reason" => reason).increment(count);
    if is_new {
        tracing::warn!(
            plugin,
            reason,
            "answers to the question about a plugin are not looked at; told once while it goes on"
        );
    }
}

/// An operator disabled a plugin, or enabled it again.
pub fn plugin_decided(plugin: &str, disabled_by: Option<&str>) {
    match disabled_by {
        Some(by) => tracing::warn!(plugin, by, "a plugin is disabled"),
        None => tracing::info!(plugin, "a plugin is enabled again"),
    }
}

/// What operators decide about plugins can't be heard.
pub fn plugin_decisions_unheard(error: &dyn std::fmt::Display) {
    tracing::warn!(%error, "what operators decide about plugins can't be heard; trying again");
}

/// An event was published, or the stream has it.
pub fn event_told(kind: &'static str) {
    counter!(names::EVENTS_TOLD, "kind" => kind).increment(1);
}

/// An event was lost, for a reason of the closed set in the table.
pub fn event_lost(kind: &'static str, reason: &'static str) {
    counter!(names::EVENTS_LOST, "kind" => kind, "reason" => reason).increment(1);
    tracing::debug!(kind, reason, "an event was lost");
}

/// Events that wait, sampled.
pub fn events_waiting(count: usize) {
    gauge!(names::EVENTS_WAITING).set(count as f64);
}

/// The stream did not take an event; it is tried again.
pub fn event_stream_failed(kind: &'static str, error: &dyn std::fmt::Display) {
    counter!(names::EVENT_STREAM_ERRORS, "kind" => kind).increment(1);
    tracing::debug!(kind, %error, "the stream did not take an event; trying again");
}

/// A plugin reviewed so many notifications, with this verdict of the closed set in the table.
pub fn reviewed(plugin: &str, verdict: &'static str, count: usize) {
    counter!(names::REVIEWED, "plugin" => plugin.to_owned(), "verdict" => verdict).increment(count as u64);
}

/// A plugin routed a notification to so many.
pub fn routed(plugin: &str, copies: usize) {
    counter!(names::ROUTED, "plugin" => plugin.to_owned()).increment(copies as u64);
}

/// A plugin has to be asked about so many again.
pub fn review_tried_again(plugin: &str, count: usize) {
    counter!(names::REVIEW_RETRIED, "plugin" => plugin.to_owned()).increment(count as u64);
}

/// So many more wait for a plugin, or so many less.
pub fn review_held(plugin: &str, change: f64) {
    gauge!(names::REVIEW_HELD, "plugin" => plugin.to_owned()).increment(change);
}

/// So many copies of what a plugin routed have to wait for the queue.
pub fn copies_wait(plugin: &str, count: usize) {
    counter!(names::ROUTES_WAITED, "plugin" => plugin.to_owned()).increment(1);
    tracing::warn!(plugin, count, "the queue takes no copies now; trying again");
}
