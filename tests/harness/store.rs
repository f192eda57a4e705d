//! Writing to a store as the committer does, without one.

use quail_server::store::{Append, Appended, Store, StoreError, Write, Written};

/// Places messages as one batch of `store`.
pub async fn append_batch(
    store: &(impl Store + ?Sized),
    batch: Vec<Append>,
) -> Result<Vec<Appended>, StoreError> {
    let outcomes = store.write_batch(batch.into_iter().map(Write::Append).collect()).await?;
    let appended = |outcome| match outcome {
        Written::Append(appended) => appended,
        other => panic!("a message became {other:?}"),
    };
    Ok(outcomes.into_iter().map(appended).collect())
}
