<?php
// An operation's process: launched, followed, doing its work under the lock; and what a dead one left, taken back.

/** Starts `work` on a new operation in a process of its own, then follows it. */
function launch(Request $request, $kind)
{
    foreach (['', '/ops', '/packs', '/generations'] as $sub) {
        make_folder($request->folder . $sub);
    }
    refuse_if_busy($request);
    $operation = Operation::create($request, $kind);
    if ($request->get('attached')) {
        say($request->marker, ['reply' => ['operation' => $operation->id, 'detached' => false]]);
        ignore_user_abort(true);
        $operation->attach($request->marker);
        work($operation);
        return ['state' => 'finished'];
    }
    spawn_worker($operation);
    say($request->marker, ['reply' => ['operation' => $operation->id, 'detached' => true]]);
    return follow($operation, 0);
}

function refuse_if_busy(Request $request)
{
    foreach (Operation::unfinished($request) as $other) {
        if (Lock::held($request)) {
            throw new Failure('busy', "{$other->kind} is running on this site", $other->id);
        }
        if ($other->asked && $other->recall('phase') === 'switched') {
            throw new Failure('waiting', "the {$other->kind} on this site waits for somebody to look", $other->id);
        }
    }
    // Who has said how it ended lets go of the lock in a moment.
    for ($until = microtime(true) + 3; Lock::held($request); usleep(10000)) {
        if (microtime(true) > $until) {
            throw new Failure('busy', 'another process works on this site', 'try again in a moment');
        }
    }
}

function spawn_worker(Operation $operation)
{
    $log = $operation->folder . '/stderr';
    $process = @proc_open(myself('work', [$operation->folder]),
        [0 => ['file', '/dev/null', 'r'], 1 => ['file', '/dev/null', 'w'], 2 => ['file', $log, 'a']], $pipes, home());
    if (!is_resource($process)) {
        throw new Failure('no_detach', 'the host does not let a process be started: ' . last_error('proc_open failed'),
            'set [server] attached = true');
    }
    $line = $operation->line;
    for ($until = microtime(true) + 15; microtime(true) < $until; usleep(5000)) {
        $now = Operation::load($operation->folder);
        if ($now->line > $line || $now->outcome !== null) {
            return;
        }
        if (!proc_get_status($process)['running']) {
            $text = trim((string) @file_get_contents($log));
            throw new Failure('no_detach', 'the process for the operation ended at once: ' . substr($text, -300),
                'set [server] attached = true');
        }
    }
    throw new Failure('no_detach', 'the process for the operation did not begin within 15 s', 'set [server] attached = true');
}

/** Sends the operation's events from line `$from` on; returns when it finished, waits, or its process is gone. */
function follow(Operation $operation, $from)
{
    $marker = Context::$marker;
    $offset = 0;
    $quiet = microtime(true);
    $settled = false;
    while (true) {
        foreach ($operation->lines($offset, $offset) as $event) {
            if ($event['type'][0] !== '_' && $event['line'] >= $from) {
                say($marker, ['event' => $event]);
                $from = $event['line'] + 1;
                $quiet = microtime(true);
            }
            if ($event['type'] === 'finished') {
                return ['state' => 'finished'];
            }
        }
        if ($settled) {
            $now = Operation::load($operation->folder);
            if ($now->is_damaged && $now->outcome !== null) {
                say($marker, ['event' => ['line' => max($from, $now->last['line'])] + $now->last]);
            }
            return ['state' => $now->outcome !== null ? 'finished' : ($now->asked ? 'waiting' : 'orphaned')];
        }
        $settled = !Lock::held($operation->request);
        if (microtime(true) - $quiet > 5) {
            // A write is the only way to notice that the client is gone.
            @fwrite(STDOUT, "\n");
            fflush(STDOUT);
            $quiet = microtime(true);
        }
        if (!$settled) {
            usleep(30000);
        }
    }
}

/** The worker: holds the lock from its first line to its last. */
function work(Operation $operation)
{
    if (function_exists('posix_setsid')) {
        @posix_setsid();
    }
    if (function_exists('pcntl_signal')) {
        pcntl_signal(SIGHUP, SIG_IGN);
    }
    if (function_exists('proc_nice')) {
        @proc_nice(10);
    }
    $lock = Lock::take($operation->request, 10.0);
    if (!$lock) {
        $operation->finish('cancelled', 'another process works on this site', ['code' => 'busy']);
        return;
    }
    $operation->refresh();
    if ($operation->outcome !== null) {
        fclose($lock);
        return;
    }
    $again = $operation->started !== null || $operation->is_damaged;
    try {
        recover_others($operation);
        if ($again) {
            resume($operation);
            return;
        }
        Database::$owner = $operation->id;
        $operation->begin();
        drop_left_tables($operation->request);
        sweep_gate($operation->request);
        perform($operation);
        Operation::forget_old($operation->request);
    } catch (Throwable $e) {
        give_up($operation, $e);
    } finally {
        fclose($lock);
    }
}

/** Takes everything back and says how it ended; what cannot be taken back needs a hand. */
function give_up(Operation $operation, Throwable $why)
{
    try {
        if (!$why instanceof NeedsHand) {
            abandon($operation, DATABASE_WAIT_S);
        }
    } catch (NeedsHand $e) {
        $why = $e;
    } catch (NotYet $e) {
        try {
            $operation->note('not_yet', $e->getMessage(), 'error');
        } catch (Failure $full) {
            // Nor is there room for saying so: the next contact finds it unfinished all the same.
            return;
        }
        return;
    }
    if ($why instanceof NeedsHand) {
        $operation->finish('needs_hand', $why->getMessage(), ['code' => 'needs_hand', 'hint' => $why->hint]);
    } elseif ($why instanceof Cancelled) {
        $operation->finish('cancelled', $why->getMessage());
    } elseif ($why instanceof Failure) {
        $operation->finish('rolled_back', $why->getMessage(), ['code' => $why->word, 'hint' => $why->hint]);
    } elseif ($why instanceof mysqli_sql_exception) {
        $operation->finish('rolled_back', 'the database refused: ' . $why->getMessage(), ['code' => 'no_database', 'hint' => 'look at the database and its log']);
    } else {
        $operation->finish('rolled_back', short_error($why), ['code' => 'internal', 'hint' => 'report it with the log of this operation']);
    }
}

function short_error(Throwable $e)
{
    return get_class($e) . ': ' . $e->getMessage() . ' (' . basename($e->getFile()) . ':' . $e->getLine() . ')';
}

/** The site is between two states and the agent could not bring it back by itself. */
class NeedsHand extends Exception
{
    public $hint;

    public function __construct($message, $hint)
    {
        parent::__construct($message);
        $this->hint = $hint;
    }
}

function perform(Operation $operation)
{
    $kinds = ['backup' => 'operation_backup', 'restore' => 'operation_restore', 'undo' => 'operation_undo',
        'update' => 'operation_update', 'drill' => 'operation_drill', 'runtime' => 'operation_runtime', 'rehouse' => 'operation_rehouse', 'verify' => 'operation_verify', 'isolate' => 'operation_isolate',
        'release' => 'operation_release', 'probe' => 'operation_probe'];
    if (!isset($kinds[$operation->kind])) {
        throw new Failure('bad_request', "this agent has no operation {$operation->kind}", 'update Modoseru');
    }
    $kinds[$operation->kind]($operation);
}

/** Lives for a moment after its connection was closed: shows whether the host lets detached work live. */
function operation_probe(Operation $operation)
{
    $operation->step('wait');
    usleep(1500000);
    $operation->finish('done', 'detached work lives on');
}

/** What a dead process left goes on here, under the lock. */
function resume(Operation $operation)
{
    if ($operation->outcome !== null) {
        return;
    }
    $operation->is_dead = true;
    $before = Database::$owner;
    Database::$owner = $operation->id;
    try {
        bring_to_an_end($operation);
    } finally {
        Database::$owner = $before;
    }
}

/** A switch that was answered is concluded as the answer says, one that was not waits on; all else is rolled back. */
function bring_to_an_end(Operation $operation)
{
    if ($operation->is_lost) {
        $operation->finish('needs_hand', 'its journal and the second copy of it are damaged: what it did is not known',
            ['code' => 'needs_hand', 'hint' => 'look at the site; a restore of a generation brings all of it back']);
        return;
    }
    $asked = $operation->asked;
    $asked && $operation->answer($asked['number']);
    $phase = $operation->recall('phase');
    if (in_array($operation->kind, ['restore', 'undo', 'rehouse'], true) && in_array($phase, ['switched', 'done'], true)) {
        $conclude = $operation->kind === 'rehouse' ? 'conclude_rehouse' : 'conclude_switch';
        if ($phase === 'done' && $operation->is_damaged) {
            $conclude($operation, [true, 'what was seen is no longer known']);
            return;
        }
        if ($operation->answered) {
            $conclude($operation, [$operation->answered['keep'], $operation->answered['detail']]);
            return;
        }
        if ($asked) {
            return;
        }
    }
    if ($phase === 'closed' || $phase === 'opened') {
        $answer = $operation->answered ? [$operation->answered['keep'], $operation->answered['detail']] : null;
        $phase === 'closed' ? conclude_isolation($operation, $answer) : conclude_release($operation, $answer);
        return;
    }
    roll_back_dead($operation);
}

/** What a dead process left unfinished, other than one that only waits for an answer. */
function recover_others(Operation $mine)
{
    foreach (Operation::unfinished($mine->request) as $other) {
        if ($other->id !== $mine->id && !$other->is_young()) {
            resume($other);
        }
    }
}

function roll_back_dead(Operation $operation)
{
    try {
        abandon($operation);
        $operation->finish('rolled_back', 'its process died; everything was taken back');
    } catch (NeedsHand $e) {
        $operation->finish('needs_hand', $e->getMessage(), ['code' => 'needs_hand', 'hint' => $e->hint]);
    }
}

/** Brings the site and the state folder back to what they were before the operation, from its journal alone. */
function abandon(Operation $operation, $wait_s = 0)
{
    take_page_away($operation);
    if ($operation->kind === 'rehouse') {
        abandon_rehouse($operation);
    } elseif ($operation->recall('phase') === 'switching' || $operation->recall('phase') === 'switched') {
        switch_back($operation, $wait_s);
        $operation->recall('questions') && flush_object_cache($operation);
    }
    if ($operation->kind === 'undo' && $operation->recall('undoes')) {
        // What it was to take back stands again, and can be taken back later.
        $undone = Operation::find($operation->request, $operation->recall('undoes'));
        if ($undone->recall('phase') === 'undone') {
            $undone->remember('phase', 'done');
        }
    }
    if ($operation->kind === 'update') {
        abandon_update($operation);
    }
    if ($operation->kind === 'isolate' || $operation->kind === 'release') {
        take_isolation_back($operation);
    }
    drop_staging($operation);
    sweep_parts($operation->request);
}
