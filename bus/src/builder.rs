//! Starting a bus.

use crate::Engine;
use crate::backplane::{Backplane, BackplaneBuilder, Hosted};
use crate::bus::Bus;
use crate::counters::Counters;
use crate::error::StartError;
use crate::events::{Direction, EventSink};
use crate::io::zmq::{Context, Incoming, PublisherSocket, SubscriberSocket};
use crate::io::zmtp::{Keys, PublisherWire, SubscriberWire, Way};
use crate::io::{Inlet, Outlet, ZmqInlet, ZmqOutlet};
use crate::message::BackplaneId;
use crate::shared::{BackplaneShared, BusShared, PublishSide, SubscribeSide, WorkerShared};
use crate::subscriber::OnFull;
use crate::worker::{Command, Life, PublisherLink, SubscriberLink, Worker, now};
use multiplane_codec::zmtp::curve::{KeyPair, PublicKey};
use multiplane_core::{Budget, Route, RoutingSpec};
use multiplane_ring::queue::{Receiver, bounded};
use multiplane_ring::stream::{Capacity, stream};
use multiplane_ring::{ReadySet, Wait, Wake};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// At most so many workers: one bit each in an inbox.
const MAX_WORKERS: usize = 64;

/// Commands that wait for a worker; a handle that finds no room waits.
const COMMANDS: usize = 1024;

/// How a [`Bus`] is to be: everything has a default but the routing specification.
///
/// ```no_run
/// use multiplane_bus::{Bus, RoutingSpec, Wait};
/// use std::time::Duration;
///
/// let bus = Bus::builder("camera")
///     .routing(RoutingSpec::from_path("spec.csv")?)
///     .workers(2)
///     .pin([2, 3])
///     .wait(Wait::Spin { before_block: Duration::from_micros(50) })
///     .start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct Builder {
    name: String,
    routing: Option<RoutingSpec>,
    workers: usize,
    cores: Vec<usize>,
    wait: Wait,
    on_full: OnFull,
    engine: Engine,
    unix_shortcut: bool,
    curve: Option<Curve>,
    hosted: Vec<BackplaneBuilder>,
    budget: Budget,
}

/// Our keys, and those of the backplanes.
#[derive(Clone, Debug)]
struct Curve {
    keys: Arc<KeyPair>,
    server: PublicKey,
    others: HashMap<String, PublicKey>,
}

/// A worker's share of the links before its thread exists.
struct Share {
    shared: Arc<WorkerShared>,
    commands: Receiver<Command>,
    publishers: Vec<PublisherLink>,
    subscribers: Vec<SubscriberLink>,
}

impl Builder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            routing: None,
            workers: 1,
            cores: Vec::new(),
            wait: Wait::default(),
            on_full: OnFull::default(),
            engine: Engine::default(),
            unix_shortcut: true,
            curve: None,
            hosted: Vec::new(),
            budget: Budget::default(),
        }
    }

    /// The backplanes to link to. Required, unless the component [hosts](Self::host) one.
    pub fn routing(mut self, routing: RoutingSpec) -> Self {
        self.routing = Some(routing);
        self
    }

    /// Hosts a backplane: this component is its forwarding point, and no process stands in the middle. What it publishes
    /// there enters without a socket and reaches the subscribers in one hop; others publish into it, and subscribe, as with
    /// any backplane. Repeatable. Its name must not be in the routing specification as well; `bus.publisher(name)`
    /// publishes on it, and [`Subscriber::subscribe`](crate::Subscriber::subscribe) receives from it.
    ///
    /// ```
    /// use multiplane_bus::{Backplane, Bus, RoutingSpec};
    /// use std::time::Duration;
    ///
    /// let camera = Backplane::builder("cam").publisher_port(0).subscriber_port(0);
    /// let camera = Bus::builder("camera").host(camera).start()?;
    /// let route = camera.hosted("cam").ok_or("hosted above")?.route();
    ///
    /// let viewer = RoutingSpec::builder().backplane(route.topics(["frame"])).build()?;
    /// let viewer = Bus::builder("viewer").routing(viewer).start()?;
    /// let (frames, publisher) = (viewer.subscriber()?, camera.publisher("cam")?);
    /// publisher.wait_for_subscriber("frame", Duration::from_secs(5))?;
    /// publisher.publish("frame", &1)?;
    /// assert_eq!(frames.recv()?.decode::<u32>()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn host(mut self, backplane: BackplaneBuilder) -> Self {
        self.hosted.push(backplane);
        self
    }

    /// How many worker threads share the links; 1 by default, at most 64 and one per backplane. All links of a
    /// backplane belong to one worker.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Pins worker 0 to the first of these processor cores, worker 1 to the second, and so on, from the beginning again
    /// when there are more workers. Unpinned by default, since several components of one machine would all choose the
    /// same core.
    pub fn pin(mut self, cores: impl IntoIterator<Item = usize>) -> Self {
        self.cores = cores.into_iter().collect();
        self
    }

    /// How a worker waits; [`Wait::Block`] by default.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// What a full inbox of a [`Subscriber`](crate::Subscriber) does; [`OnFull::Block`] by default.
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// Who does the work on the links; [`Engine::Native`] by default. Both speak the same wire and keep the same
    /// promises.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Whether links to native backplanes on the same host may move to a Unix socket where the backplane
    /// [offers one](crate::BackplaneBuilder::unix_shortcut); on by default. They connect by TCP as always, and move before
    /// anything is said; the [`LinkUp`](crate::LinkEvent::LinkUp) event says what a link runs on. Linux only.
    pub fn unix_shortcut(mut self, unix_shortcut: bool) -> Self {
        self.unix_shortcut = unix_shortcut;
        self
    }

    /// Seals all links by CURVE: each backplane has to prove that it has the secret of `server`, this component that it has
    /// that of `keys`, and everything between them is encrypted. A backplane that does not speak CURVE, or has another key,
    /// is not linked to. There is no Unix shortcut then, and no [`Engine::Libzmq`].
    ///
    /// ```no_run
    /// use multiplane_bus::{Bus, RoutingSpec, curve};
    ///
    /// let bus = Bus::builder("camera")
    ///     .routing(RoutingSpec::from_path("spec.csv")?)
    ///     .curve(curve::read_keys("camera.key")?, "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7".parse()?)
    ///     .start()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn curve(mut self, keys: KeyPair, server: PublicKey) -> Self {
        let others = self.curve.take().map(|curve| curve.others).unwrap_or_default();
        self.curve = Some(Curve { keys: Arc::new(keys), server, others });
        self
    }

    /// The public key of a backplane that has another one than [`curve`](Self::curve), which comes before this, says.
    pub fn curve_server(mut self, backplane: impl Into<String>, server: PublicKey) -> Self {
        if let Some(curve) = &mut self.curve {
            curve.others.insert(backplane.into(), server);
        }
        self
    }

    /// All bounds; see [`Budget`] for each with its default.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// How long [`start`](Self::start) waits until every link is live; 5 seconds by default. Zero: not at all, and the
    /// links come up in the background whenever their backplanes do.
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.budget.start_deadline = deadline;
        self
    }

    /// Opens all links and waits until they are live. A subscriber's link is live when its handshake is done, a
    /// publisher's link when it also knows who subscribes to what: what is published from now on is not lost to a slow
    /// start of this component. For that of others there is
    /// [`wait_for_subscriber`](crate::Publisher::wait_for_subscriber).
    ///
    /// # Errors
    /// [`StartError`]; with [`StartError::NotLive`] everything has been closed again.
    pub fn start(mut self) -> Result<Bus, StartError> {
        let deadline = std::mem::replace(&mut self.budget.start_deadline, Duration::MAX);
        self.budget.check()?;
        let mut hosts = Vec::new();
        for backplane in std::mem::take(&mut self.hosted) {
            hosts.push(backplane.host()?);
        }
        let (backplanes, mut hosted): (Vec<_>, Vec<_>) =
            hosts.into_iter().map(|(backplane, hosted)| (backplane, Some(hosted))).unzip();
        let routing = self.all_routes(&backplanes)?;
        let count = routing.routes().len();
        if count > self.budget.backplanes {
            return Err(StartError::TooManyBackplanes { count, limit: self.budget.backplanes });
        }
        self.check_cores()?;
        if self.engine == Engine::Libzmq && self.curve.is_some() {
            return Err(open_error(
                "links with CURVE",
                "the libzmq engine is built without it: use the native one",
            ));
        }
        let context = (self.engine == Engine::Libzmq).then(Context::new);
        let budget = Arc::new(self.budget.clone());
        let (events, event_sink) = {
            let (sink, events) = EventSink::new(budget.events);
            (events, sink)
        };
        let (shared, shares) = self.open(&routing, &mut hosted, context.as_ref(), &budget, &event_sink)?;
        let mut bus = Bus::new(shared, routing, events, context, backplanes, self.on_full);
        for share in shares {
            bus.add_thread(self.spawn(bus.shared(), share)?);
        }
        bus.await_live(deadline)?;
        Ok(bus)
    }

    /// The routing specification, and behind it the backplanes that are hosted here.
    fn all_routes(&mut self, hosted: &[Backplane]) -> Result<RoutingSpec, StartError> {
        let linked = self.routing.take();
        if hosted.is_empty() {
            return linked.ok_or(StartError::NoRouting);
        }
        let linked = linked.iter().flat_map(|routing| routing.routes()).cloned();
        let all = linked.chain(hosted.iter().map(Backplane::route));
        Ok(all.fold(RoutingSpec::builder(), |spec, route| spec.backplane(route)).build()?)
    }

    fn check_cores(&self) -> Result<(), StartError> {
        if self.cores.is_empty() {
            return Ok(());
        }
        let allowed: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        match self.cores.iter().enumerate().find(|(_, core)| !allowed.contains(core)) {
            Some((worker, &core)) => Err(StartError::Pin { worker, core, allowed }),
            None => Ok(()),
        }
    }

    /// Makes all links, each with its worker, round robin.
    fn open(
        &self,
        routing: &RoutingSpec,
        hosted: &mut [Option<Hosted>],
        context: Option<&Context>,
        budget: &Arc<Budget>,
        events: &EventSink,
    ) -> Result<(Arc<BusShared>, Vec<Share>), StartError> {
        let routes = routing.routes();
        let workers = self.workers.clamp(1, MAX_WORKERS).min(routes.len());
        let mut shares =
            (0..workers).map(|index| open_worker(index, workers, routes)).collect::<Result<Vec<_>, _>>()?;
        let mut backplanes = Vec::with_capacity(routes.len());
        let linked = routes.len() - hosted.len();
        for (index, route) in routes.iter().enumerate() {
            let hosted = index.checked_sub(linked).and_then(|n| hosted.get_mut(n)?.take());
            let share = &mut shares[index % workers];
            let id = BackplaneId::intern(&route.name, u16::try_from(index).unwrap_or(u16::MAX));
            let curve = self
                .curve
                .as_ref()
                .map(|curve| (curve.keys.clone(), *curve.others.get(&route.name).unwrap_or(&curve.server)));
            let way = (context, self.unix_shortcut, curve);
            // What a backplane of ours would not take is refused where it is published.
            let most = hosted.as_ref().map_or(usize::MAX, Hosted::message_bytes);
            let message_bytes = budget.message_bytes.min(most);
            let budget = Arc::new(Budget { message_bytes, ..Budget::clone(budget) });
            backplanes.push(open_backplane((id, route, hosted), share, way, &budget, events)?);
        }
        let shared = Arc::new(BusShared {
            name: self.name.clone(),
            backplanes,
            workers: shares.iter().map(|share| share.shared.clone()).collect(),
            budget: budget.clone(),
            closed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            receivers: AtomicU64::new(0),
        });
        Ok((shared, shares))
    }

    fn spawn(&self, bus: &Arc<BusShared>, share: Share) -> Result<JoinHandle<()>, StartError> {
        let index = share.shared.index;
        let core = self.cores.get(index % self.cores.len().max(1)).copied();
        let links = (share.publishers, share.subscribers);
        let worker = Worker::new(share.shared, bus.clone(), links, share.commands, self.wait);
        let gathered = worker.gather().map_err(|error| open_error("the descriptors of a worker", error))?;
        let thread = std::thread::Builder::new().name(format!("bus-worker-{index}")).spawn(move || {
            if let Some(id) = core
                && !core_affinity::set_for_current(core_affinity::CoreId { id })
            {
                tracing::error!(worker = index, core = id, "cannot be pinned and runs anywhere");
            }
            worker.run(gathered);
        });
        thread.map_err(|error| open_error("a worker thread", error))
    }
}

fn open_error(what: impl Into<String>, reason: impl ToString) -> StartError {
    StartError::Open { what: what.into(), reason: reason.to_string() }
}

fn open_worker(index: usize, workers: usize, routes: &[Route]) -> Result<Share, StartError> {
    let (sender, commands) = bounded(COMMANDS);
    let mine = routes.iter().skip(index).step_by(workers);
    let publishers = mine.filter(|route| route.publisher_endpoint().is_some()).count();
    let shared = Arc::new(WorkerShared {
        index,
        ready: ReadySet::new(publishers + 2),
        wake: Wake::new().map_err(|error| open_error("a wake-up descriptor", error))?,
        commands: sender,
        publishers,
    });
    Ok(Share { shared, commands, publishers: Vec::new(), subscribers: Vec::new() })
}

fn open_backplane(
    (id, route, hosted): (BackplaneId, &Route, Option<Hosted>),
    share: &mut Share,
    (context, unix, curve): (Option<&Context>, bool, Option<Keys>),
    budget: &Arc<Budget>,
    events: &EventSink,
) -> Result<Arc<BackplaneShared>, StartError> {
    let now: Instant = now();
    let refused = |direction: Direction, reason: &dyn ToString| {
        open_error(format!("the {direction} link of {id}"), reason.to_string())
    };
    let (publish, queue) = match route.publisher_endpoint() {
        None => (None, None),
        Some(endpoint) => {
            let (sender, queue) = stream(Capacity::of_bytes(budget.publish_queue_bytes));
            (Some(PublishSide::new(sender, share.publishers.len(), endpoint, budget)), Some(queue))
        }
    };
    let subscribe =
        route.subscriber_endpoint().map(|endpoint| SubscribeSide::new(share.subscribers.len(), endpoint));
    let shared = Arc::new(BackplaneShared {
        id,
        worker: share.shared.clone(),
        counters: Counters::default(),
        publish,
        subscribe,
        budget: budget.clone(),
    });
    let life = |direction| Life::new(shared.clone(), direction, events.clone(), now);
    let way = |endpoint| Way { endpoint, unix, curve: curve.clone() };
    let worker = share.shared.clone();
    let wake = Arc::new(move || worker.signal(worker.retry_mark()));
    if let (Some(side), Some(queue)) = (&shared.publish, queue) {
        let refused = |error: &dyn ToString| refused(Direction::Publish, error);
        let outlet = match (hosted, context) {
            (Some(hosted), _) => Outlet::Hosted(Box::new(hosted)),
            (None, None) => {
                let wire = PublisherWire::new(way(&side.endpoint), budget, wake.clone(), now);
                Outlet::Native(Box::new(wire.map_err(|error| refused(&error))?))
            }
            (None, Some(context)) => {
                let (socket, monitor) = PublisherSocket::connect(context, &side.endpoint, budget)
                    .map_err(|error| refused(&error))?;
                Outlet::Libzmq(Box::new(ZmqOutlet { socket, monitor }))
            }
        };
        let link = PublisherLink::new(shared.clone(), outlet, queue, life(Direction::Publish), now);
        share.publishers.push(link);
    }
    if let Some(side) = &shared.subscribe {
        let refused = |error: &dyn ToString| refused(Direction::Subscribe, error);
        let inlet = match context {
            None => {
                let wire = SubscriberWire::new(way(&side.endpoint), budget, wake, now);
                Inlet::Native(Box::new(wire.map_err(|error| refused(&error))?))
            }
            Some(context) => {
                let (socket, monitor) = SubscriberSocket::connect(context, &side.endpoint, budget)
                    .map_err(|error| refused(&error))?;
                Inlet::Libzmq(Box::new(ZmqInlet { socket, monitor, incoming: Incoming::new() }))
            }
        };
        let mut link = SubscriberLink::new(shared.clone(), inlet, life(Direction::Subscribe), now);
        for topic in &route.topics {
            link.subscribe_main(topic).map_err(|error| refused(&error))?;
        }
        share.subscribers.push(link);
    }
    Ok(shared)
}
