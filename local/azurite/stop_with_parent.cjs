// Loaded before Azurite: ends the process when its standard input does, so that it never outlives the one that started it.
process.stdin.resume();
process.stdin.on("end", () => process.kill(process.pid, "SIGTERM"));
// Listening here must not keep a process alive that has closed its servers.
process.stdin.unref();
