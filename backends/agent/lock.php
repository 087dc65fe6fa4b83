<?php
// The site's lock, that binds everybody: flock where the file system has it, a heartbeat where it has none (NFS without
// lockd answers ENOLCK). Either way it goes with the last process that holds it, and a dead one leaves nothing stale.

/** How often a heartbeat beats, and after how much silence its owner counts as dead, in seconds. */
const BEAT_S = 5;
const SILENCE_S = 60;

final class Lock
{
    /** The heart's pipe, where there is one: every child of ours inherits it, as it would inherit a flock. */
    public static $pipe = null;
    private static $heart = null;
    /** Its file and what it says. */
    private static $mine = [];

    public static function path(Request $request)
    {
        return $request->folder . '/lock';
    }

    /** A handle that holds the lock until it is closed, or null where another process does. Children inherit it. */
    public static function take(Request $request, $seconds = 0.0)
    {
        make_folder($request->folder);
        $handle = @fopen(self::path($request), 'c');
        if (!$handle) {
            throw new Failure('no_state', 'cannot open the lock: ' . last_error('unknown reason'), 'make the home folder writable');
        }
        for ($until = microtime(true) + $seconds; ; usleep(20000)) {
            if (flock($handle, LOCK_EX | LOCK_NB, $busy)) {
                return $handle;
            }
            if (!$busy && ($pipe = self::take_by_heartbeat(self::path($request) . '.held'))) {
                fclose($handle);
                return $pipe;
            }
            if (microtime(true) >= $until) {
                fclose($handle);
                return null;
            }
        }
    }

    public static function held(Request $request)
    {
        $handle = @fopen(self::path($request), 'r');
        if (!$handle) {
            return false;
        }
        $free = flock($handle, LOCK_SH | LOCK_NB, $busy);
        fclose($handle);
        return !$free && ($busy || self::beats(self::path($request) . '.held'));
    }

    // ---------------------------------------------------------------- the heartbeat

    /** Making a file that must not be there is one step on every file system. Returns the pipe to our heart, or null. */
    private static function take_by_heartbeat($path)
    {
        $owner = random_hex(32);
        if (exists($path) && !self::beats($path)) {
            self::bury($path);
        }
        $file = @fopen($path, 'x');
        if (!$file) {
            return null;
        }
        fwrite($file, $owner);
        fclose($file);
        self::$mine = [$path, $owner];
        if (!self::start_heart()) {
            @unlink($path);
            throw new Failure('no_detach', 'this file system has no locks, and no process could be started that holds one', 'set [server] state to a local folder');
        }
        return self::$pipe;
    }

    private static function start_heart()
    {
        // It beats for as long as anybody has the other end of its pipe, and then takes the file away.
        self::$heart = @proc_open(myself('heart', array_merge(self::$mine, [(string) getmypid()])),
            [0 => ['pipe', 'r'], 1 => ['file', '/dev/null', 'w'], 2 => ['file', '/dev/null', 'w']], $pipes, '/');
        self::$pipe = is_resource(self::$heart) ? $pipes[0] : null;
        return self::$pipe !== null;
    }

    /** Gives the lock another heart where a host ended the one that it had. Called now and then by who holds it. */
    public static function keep()
    {
        if (is_resource(self::$pipe) && !proc_get_status(self::$heart)['running']) {
            self::start_heart();
        }
    }

    /** Whether its owner lives. The server of the files has a clock of its own: a new file tells it. */
    private static function beats($path)
    {
        // Opening asks the server; a bare stat may be answered from memory for a minute.
        $file = @fopen($path, 'r');
        $beat = $file ? fstat($file)['mtime'] : null;
        $file && fclose($file);
        if ($beat !== null && abs(time() - $beat) < SILENCE_S / 2) {
            return true;
        }
        $clock = dirname($path) . '/.clock-' . random_hex(8);
        if ($beat === null || @file_put_contents($clock, '') === false) {
            return $beat !== null;
        }
        clearstatcache(true, $clock);
        $now = filemtime($clock);
        @unlink($clock);
        return $now - $beat < SILENCE_S;
    }

    /** One alone takes away what a dead owner left: a second one would take away the lock of who came after him. */
    private static function bury($path)
    {
        $grave = "$path.dead";
        if (exists($grave) && !self::beats($grave)) {
            @unlink($grave);
        }
        if ($file = @fopen($grave, 'x')) {
            fclose($file);
            self::beats($path) || @unlink($path);
            @unlink($grave);
        }
    }
}

/** The heart of a lock: a process that lives as long as its pipe has another end. */
function answer_heart($path, $owner, $pid)
{
    // A signal to its owner's group must not stop it before its owner.
    function_exists('posix_setsid') && @posix_setsid();
    stream_set_blocking(STDIN, false);
    while (true) {
        $read = [STDIN];
        $none = [];
        $woken = @stream_select($read, $none, $none, BEAT_S);
        $ours = @file_get_contents($path) === $owner;
        if ($woken && fread(STDIN, 1) === '' && feof(STDIN)) {
            $ours && @unlink($path);
            return 0;
        }
        if (!$ours) {
            // It was silent for so long (a machine asleep) that others took it for dead: it must not wake.
            function_exists('posix_kill') ? posix_kill((int) $pid, 9) : run(['kill', '-9', $pid]);
            return 1;
        }
        // Never made anew: it may have been taken away a moment ago.
        if ($file = @fopen($path, 'r+')) {
            fwrite($file, $owner);
            fclose($file);
        }
    }
}
