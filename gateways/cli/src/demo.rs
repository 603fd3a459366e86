//! `multiplane demo`
use crate::failure::Failure;
use crate::shutdown::Shutdown;

/// See everything at work on this machine
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, _shutdown: &Shutdown) -> Result<(), Failure> {
    Err(Failure::Failed("not built yet".to_owned()))
}
