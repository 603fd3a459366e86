//! `multiplane gateway tcp`: microcontrollers on the bus.

use super::{run_to_the_end, tell};
use crate::failure::Failure;
use crate::links::Links;
use crate::reach::{Door, Reach, host};
use crate::seconds::seconds;
use crate::shutdown::Shutdown;
use multiplane_bus::raise_open_files_limit;
use multiplane_tcp::{Config, Device, Gateway, Place, StartError, Width, start};
use std::time::Duration;

/// Link devices that speak MessagePack over TCP, such as microcontrollers
///
/// Connects to the server on each device, or, with --listen, is the server that devices connect to. What a device sends
/// is published on its topic; messages of the topics that it wants are sent to it, without their topic. In both
/// directions a payload has its length in front, one byte unless --length-bytes says more.
///
/// Takes the flags of Python Banyan's `tgw`. A device that is not there, or goes, is tried again and again; what waits
/// for it is kept up to --queue messages. Ends on Ctrl-C, and then says on standard error what passed and what was lost.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  multiplane gateway tcp -a 10.0.0.5                       as Python Banyan's tgw: topics from_pico and figura
  multiplane gateway tcp --device 10.0.0.5:31335,from=door,to=lock --device 10.0.0.6:31335,from=roof
  multiplane gateway tcp --listen 0.0.0.0:31335 --insecure --length-bytes 2 --routing spec.csv
  multiplane gateway tcp -a 10.0.0.5 --trace-frames        see every byte")]
pub(crate) struct Args {
    /// The address of a device that is a server, repeatable
    #[arg(short = 'a', long, value_name = "HOST")]
    tcp_address: Vec<String>,

    /// The port of such devices
    #[arg(short = 'n', long, value_name = "PORT", default_value_t = 31335, value_parser = clap::value_parser!(u16).range(1..))]
    tcp_port: u16,

    /// The topic of what devices send
    #[arg(short = 'e', long, value_name = "TOPIC", default_value = "from_pico")]
    from_topic: String,

    /// Topics of what is sent to devices: each stands for all that begin with it
    #[arg(short = 'g', long, value_name = "TOPIC", num_args = 1.., default_value = "figura")]
    to_topic: Vec<String>,

    /// A device with topics and backplanes of its own, repeatable
    ///
    /// What is left out is as -e and -g say, and all backplanes.
    #[arg(long, value_name = "HOST:PORT[,from=TOPIC][,to=TOPIC]...[,backplane=NAME]...")]
    device: Vec<String>,

    /// Listen for devices that are clients; without a host on this machine only
    #[arg(long, value_name = "[HOST:]PORT")]
    listen: Option<String>,

    /// Bytes of the length in front of each payload: 1 holds 255 bytes, 2 holds 65,535
    #[arg(long, value_name = "N", default_value = "1", value_parser = ["1", "2", "4"])]
    length_bytes: String,

    /// How long a payload that has begun to arrive may stand still
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    frame_timeout: Duration,

    /// Messages that wait for a device that is away or slow; beyond, the oldest make way
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    queue: u32,

    /// Bytes of a payload of a device, where --length-bytes would allow more
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024 * 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_message: u32,

    /// Devices that may be connected to the one port at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Of these, devices from one address of another host
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_address: u32,

    /// Bytes of payloads that have come in part, of all devices; who brings more is disconnected
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024 * 1024, value_parser = clap::value_parser!(u32).range(1..))]
    unfinished_bytes: u32,

    /// Print every payload and every framing error, byte by byte
    #[arg(long)]
    trace_frames: bool,

    /// The name of this component
    #[arg(short = 'z', long, default_value = "TcpGateway")]
    name: String,

    /// Accepted for Python Banyan's command lines, and ignored: there it has no effect either
    #[arg(short = 'l', long = "event-loop", value_name = "LOOP")]
    _event_loop: Option<String>,

    #[command(flatten)]
    reach: Reach,

    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(args: Args, shutdown: &Shutdown) -> Result<(), Failure> {
    let _ = raise_open_files_limit();
    let check = |listen| args.reach.check(&Door { host: host(listen), security: None, cure: None });
    let reached = args.listen.as_deref().map(check).transpose()?;
    let component = args.links.component(&args.name)?.routing(args.links.both()?);
    let config = config(&args)?;
    let running = start(component, config, |event| tell(event)).map_err(|error| match error {
        StartError::NoDevice => Failure::Misuse(
            "there is no device: name one with -a HOST or --device, or --listen for them".to_owned(),
        ),
        StartError::Backplane(_) => Failure::Misuse(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })?;
    if let (Some(reached), Some(listen)) = (reached, &args.listen) {
        reached.announce(listen);
    }
    run_to_the_end(running, shutdown, Gateway::bus_ended, Gateway::close)
}

fn config(args: &Args) -> Result<Config, Failure> {
    let with_topics =
        |place| Device { to: args.to_topic.clone(), ..Device::new(place).from(&args.from_topic) };
    let listening = args.listen.iter().map(|address| with_topics(Place::Listen(address.clone())));
    let defaults = with_topics(Place::Listen(String::new()));
    let mut devices: Vec<Device> = listening.collect();
    for host in &args.tcp_address {
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.clone() };
        devices.push(with_topics(Place::Connect(format!("{host}:{}", args.tcp_port))));
    }
    for text in &args.device {
        let device = Device::parse(text, &defaults).map_err(|error| Failure::Misuse(format!("--{error}")))?;
        devices.push(device);
    }
    Ok(Config {
        width: match args.length_bytes.as_str() {
            "2" => Width::Two,
            "4" => Width::Four,
            _ => Width::One,
        },
        frame_timeout: args.frame_timeout,
        queue: args.queue as usize,
        limit: args.max_message as usize,
        connections: args.connections as usize,
        connections_per_address: args.connections_per_address as usize,
        unfinished: args.unfinished_bytes as usize,
        trace_frames: args.trace_frames,
        ..Config::new(devices)
    })
}
