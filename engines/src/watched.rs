//! Waiting for a server, but no longer than the work goes on. It knows no driver.

use std::pin::pin;
use std::time::Duration;

use metaferry_pipeline::{Result, Stop};

/// How often whoever waits looks whether the work is to end.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Waits, but no longer than the work goes on.
pub(crate) async fn watched<T>(stop: &Stop, work: impl Future<Output = T>) -> Result<T> {
    let mut work = pin!(work);
    loop {
        match tokio::time::timeout(TICK, &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) => stop.check()?,
        }
    }
}
