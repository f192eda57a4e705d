//! Who leaves and who loses the connection, and when.

use std::{sync::Arc, time::Duration};

use futures_util::future::join;
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{Order, member::Member};
use crate::{schedule::Schedule, weather::uniform};

/// See the module.
pub(super) struct Churn {
    going_on: watch::Sender<bool>,
    directing: tokio::task::JoinHandle<()>,
}

impl Churn {
    /// Begins.
    pub(super) fn begin(order: &Order, members: Vec<Arc<Member>>) -> Self {
        let (going_on, goes_on) = watch::channel(true);
        // Whoever is away stays away until they come back by themselves.
        let members: Arc<[_]> = members.into_iter().map(|member| Arc::new(Mutex::new(member))).collect();
        let (left_for, cut_for) = (order.left_for, order.cut_for.clone());
        let leaves =
            each(order.leaves_per_second, goes_on.clone(), members.clone(), move |member, _| async move {
                member.leave_for(left_for).await;
            });
        let cuts = each(order.cuts_per_second, goes_on, members, move |member, turn| {
            let pause = cut_for.get(turn % cut_for.len().max(1)).copied().unwrap_or(Duration::ZERO);
            async move { member.lose_for(pause).await }
        });
        let directing = tokio::spawn(async move {
            join(leaves, cuts).await;
        });
        Self { going_on, directing }
    }

    /// Ends it, when everybody has come back who is on the way.
    pub(super) async fn end(self) {
        self.going_on.send_replace(false);
        // If it fell over, what it did not do is missing in what was lived through.
        _ = self.directing.await;
    }
}

/// Does something with members at random, so many per second, one thing at a time with each.
async fn each<F: Future<Output = ()> + Send + 'static>(
    per_second: f64,
    mut goes_on: watch::Receiver<bool>,
    members: Arc<[Arc<Mutex<Arc<Member>>>]>,
    what: impl Fn(Arc<Member>, usize) -> F,
) {
    let (begun, schedule) = (Instant::now(), Schedule::new(0, 1, per_second));
    let mut under_way = JoinSet::new();
    // The first one is due after a while, too.
    for turn in 1.. {
        let due = Instant::now() + Duration::from_secs(3600);
        let due = begun.checked_add(schedule.intended(turn)).unwrap_or(due);
        tokio::select! {
            () = sleep_until(due) => {}
            _ = goes_on.wait_for(|goes_on| !goes_on) => break,
        }
        let at = (uniform(turn ^ per_second.to_bits()) * members.len() as f64) as usize;
        if let Some(Ok(member)) = members.get(at).map(|member| member.clone().try_lock_owned())
            && member.is_in()
        {
            let doing = what(member.clone(), turn as usize);
            under_way.spawn(async move {
                doing.await;
                drop(member);
            });
        }
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}
