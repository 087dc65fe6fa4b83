<?php
// What the server keeps: which old generations go, and which packs with them.

/** What the client knows and the server cannot forge: seals, marks and pins that lie in its journal. */
final class ClientsWord
{
    private $sealed;
    private $marked;
    private $pinned;

    public function __construct(Request $request)
    {
        foreach (['sealed', 'marked'] as $name) {
            $value = $request->get($name);
            $this->$name = is_array($value) ? array_filter($value, 'is_string') : null;
        }
        $this->pinned = array_flip($request->words('pinned'));
    }

    public function pins(Generation $generation)
    {
        return isset($this->pinned[$generation->id]) || is_file($generation->folder . '/pinned');
    }

    /** An operator's word, as far as it is known to be an operator's. */
    public function calls_clean(Generation $generation)
    {
        return $this->sealed ? ($this->marked[$generation->id] ?? '') === 'clean' : $generation->mark() === 'clean';
    }

    /** It is not the one that was sealed: evidence of somebody's hand, which no policy lets go. */
    public function contradicts(Generation $generation)
    {
        return isset($this->sealed[$generation->id]) && $this->sealed[$generation->id] !== $generation->seal;
    }

    /**
     * Whether it fills one of the policy's places. Somebody who may only add could plant generations that are newer than
     * all others, weekly and marked clean, and so push the good ones out (FACTS 2): a client that has seals counts those
     * alone, and its own marks; without any, what comes from the future counts for nothing.
     */
    public function counts(Generation $generation, $just_made)
    {
        if ($generation->summary['reason'] !== 'weekly') {
            return false;
        }
        if (!$this->sealed) {
            return !$generation->is_suspect() && strtotime($generation->summary['created']) < time() + 86400;
        }
        if ($generation->id !== $just_made && ($this->sealed[$generation->id] ?? '') !== $generation->seal) {
            return false;
        }
        $word = $this->marked[$generation->id] ?? '';
        return $word !== '' ? $word === 'clean' : empty($generation->summary['suspect']) && $generation->mark() !== 'suspect';
    }
}

/**
 * Lets the oldest go, never on count alone (FACTS 2): more than `keep` newer clean weekly ones, older than `min_age_s`,
 * not pinned, the newest not suspect, and read back whole in this very process: a mark on the disk proves nothing.
 */
function let_go_of_old(Operation $operation, $newest)
{
    $request = $operation->request;
    $keep = max(1, $request->whole('keep', 8));
    $age = $request->whole('min_age_s', 56 * 86400);
    $word = new ClientsWord($request);
    $damage = Damage::of($request);
    $evidence = generations_for_undo($request);
    $weekly = 0;
    $old = [];
    foreach (Generation::ids($request) as $id) {
        try {
            $generation = Generation::open($request, $id);
        } catch (Failure $e) {
            $operation->note('damaged', $e->getMessage(), 'warning', $id);
            continue;
        }
        $moment = strtotime($generation->summary['created']);
        $kept = isset($evidence[$id]) || $word->pins($generation) || $word->contradicts($generation);
        if ($weekly >= $keep && max(0, time() - $moment) >= $age && !$kept) {
            $old[] = $generation;
        }
        $weekly += $word->counts($generation, $newest) && !$damage->spoils($generation) ? 1 : 0;
    }
    if (!$old) {
        return;
    }
    $proof = Generation::open($request, $newest);
    if ($proof->is_suspect()) {
        $operation->note('kept', count($old) . ' old generations are kept: the newest is suspect', 'warning', $newest);
        return;
    }
    $problems = (new ReadBack($operation, $proof))->all();
    if ($problems) {
        $operation->note('damaged', 'nothing was let go: the newest generation does not read back: ' . key($problems) . ' ' . current($problems), 'error', $newest);
        return;
    }
    write_durably($proof->folder . '/verified', now_text());
    foreach ($old as $generation) {
        $operation->checkpoint(true);
        remember_let_go($operation, $generation);
        forget_generation($request, $generation);
        $operation->note('let_go', "the generation {$generation->id} was let go", 'info', $generation->id);
    }
}

/** Appended before it goes, never rewritten: other clients learn from it that nobody stole the generation. */
function remember_let_go(Operation $operation, Generation $generation)
{
    $path = $operation->request->folder . '/let-go';
    $list = @fopen($path, 'ab');
    if (!$list) {
        throw new Failure('no_state', 'cannot write the list of what was let go: ' . last_error('unknown reason'));
    }
    write_all($list, json(['generation' => $generation->id, 'seal' => $generation->seal, 'at' => now_text(), 'operation' => $operation->id]) . "\n", $path);
    sync_handle($list, $path);
    fclose($list);
}

/** The ids that retention let go of, the newest 500: the server's own word. */
function let_go(Request $request)
{
    $found = [];
    foreach (array_slice(@file($request->folder . '/let-go') ?: [], -500) as $line) {
        $id = json_decode($line, true)['generation'] ?? null;
        if (is_string($id) && moment_of($id)) {
            $found[] = $id;
        }
    }
    return $found;
}

/** The ids of the packs that generations refer to, as keys; null where one of them cannot say. */
function needed_packs(Request $request)
{
    if (@scandir($request->folder . '/generations') === false) {
        return null;
    }
    $needed = [];
    foreach (Generation::ids($request) as $id) {
        try {
            $needed += array_flip(array_column(Generation::open($request, $id)->summary['packs'], 'id'));
        } catch (Failure $e) {
            return null;
        }
    }
    return $needed;
}

/** The generation first, by one rename; its packs when no other generation needs them. */
function forget_generation(Request $request, Generation $generation)
{
    $gone = $request->folder . '/generations/.' . $generation->id . '.part';
    if (!@rename($generation->folder, $gone)) {
        throw new Failure('no_state', 'cannot let go of a generation: ' . last_error('unknown reason'));
    }
    remove_tree($gone);
    $needed = needed_packs($request);
    foreach ($generation->summary['packs'] as $pack) {
        if ($needed !== null && !isset($needed[$pack['id']])) {
            @unlink("{$generation->packs}/{$pack['id']}.tar");
        }
    }
}
