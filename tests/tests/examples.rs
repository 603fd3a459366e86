//! The examples that no test of other languages starts.

use multiplane_tests::place::free_port;
use multiplane_tests::process::Process;
use multiplane_tests::programs::example;
use std::process::Command;

/// The brokerless topology: two components that host their backplane, and one that is linked to both.
#[test]
fn a_viewer_sees_two_cameras_without_a_process_in_the_middle() {
    let (camera, viewer) = (example("camera"), example("viewer"));
    let cameras = ["left", "right"].map(|name| {
        let arguments = [name.to_owned(), free_port().to_string(), free_port().to_string()];
        let mut process = Process::start(name, Command::new(&camera).args(&arguments));
        process.line("its banner", |line| line.contains("Publisher  Port"));
        (process, arguments)
    });
    let arguments = cameras.iter().flat_map(|(_, arguments)| arguments);
    let mut viewer = Process::start("viewer", Command::new(viewer).args(arguments));
    for ((mut camera, arguments), exposure) in cameras.into_iter().zip([10, 20]) {
        camera.line("a wish", |line| line == format!("exposure {exposure}"));
        let picture = format!(": 64 x 48, light {exposure}");
        viewer.line("a picture", |line| line.starts_with(&arguments[0]) && line.ends_with(&picture));
    }
}
