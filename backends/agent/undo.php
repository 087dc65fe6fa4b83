<?php
// After the switch: somebody looks, and it is settled; what was overwritten is kept, comes back by undo, or is let go.

/** Thirty days: an attack is often noticed weeks after it, a wrong restore on the same day. */
const EVIDENCE_S = 2592000;
/** Share of the disk that must be free for more than the newest evidence to be kept. */
const SHORT_OF_ROOM = 0.05;

/** The site is switched: somebody looks from outside, and the answer settles it. `$front`: what the front page's title is to be. */
function look_and_conclude(Operation $operation, $front = null)
{
    $operation->step('check');
    flush_object_cache($operation);
    if ($front !== null && is_array($expect = $operation->request->get('expect'))) {
        $operation->request->fields['expect'] = ['title' => $front] + $expect;
    }
    $answer = $operation->ask('look', leave_page_of($operation), null, $operation->request->whole('wait_s', 900));
    if ($answer) {
        conclude_switch($operation, $answer);
    }
}

/** A persistent object cache would serve the rows of the other state (FACTS 4). */
function flush_object_cache(Operation $operation)
{
    try {
        $content = Installation::find($operation->request)->content();
    } catch (Failure $e) {
        return; // No WordPress, nothing that it would serve.
    }
    if (is_file("$content/object-cache.php")) {
        list($status) = run(myself('flush'), json($operation->request->fields), 30);
        if ($status !== 0) {
            $operation->note('cache', 'the object cache could not be flushed', 'warning');
        }
    }
}

function conclude_switch(Operation $operation, array $answer)
{
    list($keep, $detail) = $answer;
    $isolated = isolation($operation->request) !== null;
    // What an attacker left is never shown again: the closed site keeps what was restored, and the hand decides.
    $shown = !$keep && $isolated && $operation->kind === 'restore' && !$operation->cancel_asked();
    if (!$keep && !$shown && $operation->kind === 'restore') {
        switch_back($operation, DATABASE_WAIT_S);
        // Whoever looked, looked at the other state, and a persistent cache may have kept it.
        flush_object_cache($operation);
        drop_staging($operation);
        // Visitors would see the withdrawn code until opcache looked again.
        $operation->ask('reset', leave_page_of($operation), null, 20);
        $word = $operation->cancel_asked() ? 'cancelled' : 'rolled_back';
        $operation->finish($word, $word === 'cancelled' ? 'cancelled; the site is as it was' : "the check failed and the site is as it was: $detail",
            ['generation' => $operation->recall('generation'), 'code' => $word === 'cancelled' ? 'cancelled' : 'check_failed']);
        return;
    }
    $operation->remember('phase', 'done');
    $isolated && keep_first_evidence($operation);
    $operation->recall('incoming') && forget_incoming($operation->request, $operation->recall('incoming'));
    drop_staging($operation);
    forget_evidence($operation->request);
    if ($shown) {
        $operation->finish('needs_hand', "the check failed; the site stays isolated, on what was restored: $detail",
            ['code' => 'check_failed', 'hint' => "modoseru undo {$operation->request->site} takes it back; modoseru release opens the site"]);
        return;
    }
    $operation->finish('done', $keep ? $detail : "taken back; the site now shows: $detail", ['generation' => $operation->recall('generation')]);
}

/**
 * What was overwritten is kept of the two newest operations that overwrote something, for EVIDENCE_S, and where room is
 * short of the newest alone. What a file `keep` in the operation's folder holds stays until that is gone.
 */
function forget_evidence(Request $request)
{
    $kept = 0;
    $total = (float) @disk_total_space($request->folder);
    $short = $total > 0 && (float) @disk_free_space($request->folder) < SHORT_OF_ROOM * $total;
    foreach (Operation::all($request) as $operation) {
        if ($operation->recall('phase') !== 'done' || $operation->recall('forgotten')) {
            continue;
        }
        $kept++;
        $old = time() - strtotime((string) $operation->started) > EVIDENCE_S;
        if ($kept === 1 || ($kept === 2 && !$old && !$short) || is_file($operation->folder . '/keep')) {
            continue;
        }
        foreach ($operation->recall('places', []) as $place) {
            remove_tree("$place/old");
            leave_place($operation, $place);
        }
        if ($operation->recall('tag')) {
            drop_tables($operation, '/^_o' . $operation->recall('tag') . '_s?\d+$/');
        }
        $operation->remember('forgotten', true);
    }
}

/** Of an isolated site the first thing that was overwritten is what the attacker left: it stays until the release. */
function keep_first_evidence(Operation $operation)
{
    foreach (Operation::all($operation->request) as $other) {
        if (is_file($other->folder . '/keep')) {
            return;
        }
    }
    write_durably($operation->folder . '/keep', now_text());
}

/** Ids of generations that an undo may need: of what was linked and left as it was, they are the only evidence. */
function generations_for_undo(Request $request)
{
    $needed = [];
    foreach (Operation::all($request) as $operation) {
        if ($operation->recall('phase') === 'done' && !$operation->recall('forgotten') && $operation->recall('generation') && !$operation->recall('incoming')) {
            $needed[$operation->recall('generation')] = true;
        }
    }
    return $needed;
}

/** The operation `undo`: what the last restore or update put aside comes back. Undone twice, it is a redo. */
function operation_undo(Operation $operation)
{
    $operation->step('preflight');
    $other = undoable($operation->request, $operation->id);
    $operation->remember('undoes', $other->id);
    $operation->remember('generation', $other->recall('generation'));
    if ($other->recall('whole')) {
        restore_generation($operation, Generation::open($operation->request, $other->recall('generation')), 'all');
        $other->remember('phase', 'undone');
        look_and_conclude($operation);
        return;
    }
    $mirror = mirrored($operation, $other);
    $operation->step('stage');
    if (isset($mirror['generation'])) {
        settle($operation, $other, $mirror);
    }
    if (!empty($mirror['moved'])) {
        before_moving_back($operation, $other, $mirror);
        // It stages no table: none is to be looked for in the database that the site leaves.
        $operation->remember('tag', null);
    }
    $operation->step('switch');
    switch_over($operation, $mirror);
    $other->remember('phase', 'undone');
    look_and_conclude($operation);
}

/** The plan of `$other` the other way round, with places of this operation for what it will put aside. */
function mirrored(Operation $operation, Operation $other)
{
    $tag = substr($operation->id, -6);
    $operation->remember('tag', $tag);
    $operation->remember('database', $other->recall('database'));
    $places = [];
    $mirror = ['rows' => rows_taken_back($other)] + exchanged($other->recall('plan'), $operation->folder . '/old', $tag);
    foreach ($mirror['units'] as $i => $unit) {
        if (isset($unit['attributes'])) {
            continue;
        }
        $place = staging_place($operation, $unit['live']);
        keeping_time(dirname($place), function () use ($place) {
            make_folder($place);
        });
        $places[$place] = true;
        $mirror['units'][$i]['old'] = "$place/old/$i";
    }
    $operation->remember('places', array_keys($places));
    return $mirror;
}

/** What `$other` linked or left as it was, and the site changed since, comes back from the generation. */
function settle(Operation $operation, Operation $other, array &$mirror)
{
    $generation = Generation::open($operation->request, $mirror['generation']);
    $generation->check_index();
    settle_linked($operation, $other, $generation, $mirror['units']);
    if ($names = array_keys($mirror['tables']['same'] ?? [])) {
        $database = database_of($operation);
        $same = (new Sameness($operation, $database, $generation))->among($database->tables(), $names);
        $mirror['tables']['same'] = $same + array_fill_keys($names, '');
        load_same($operation, $database, $mirror['tables'], array_values(array_diff($names, array_keys($same))));
    }
}

/** The newest operation whose evidence is still there; throws nothing_to_undo. */
function undoable(Request $request, $except = null)
{
    $wanted = $request->get('operation');
    foreach (Operation::all($request) as $operation) {
        if ($operation->id === $except || ($wanted !== null && $operation->id !== $wanted)) {
            continue;
        }
        if ($operation->recall('phase') === 'done' && !$operation->recall('forgotten') && $operation->recall('plan')) {
            if ($operation->is_damaged) {
                throw new Failure('damaged', "the journal of the {$operation->kind} {$operation->id} is damaged: what it put aside is not known for sure",
                    'restore a generation instead');
            }
            return $operation;
        }
    }
    throw new Failure('nothing_to_undo', 'no restore or update of this site can be undone', 'restore a generation instead');
}
