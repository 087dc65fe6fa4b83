<?php
// One operation of a site: its folder, its append-only journal, its questions.

/**
 * The journal is the only truth about an operation; lines whose type starts with "_" are the agent's own memory. Those stand
 * in the file `memory` once more, behind the journal by a line at most: where the journal is damaged, the site is brought
 * back by them, and nothing else of the journal is believed.
 */
final class Operation
{
    public $id;
    public $folder;
    public $request;
    public $state = [];
    public $line = 0;
    public $outcome = null;
    public $asked = null;
    public $answered = null;
    /** Its process is gone, and nobody has ended yet what that still asked of the database. */
    public $is_dead = false;
    /** Its journal is not what was written, or lacks something. */
    public $is_damaged = false;
    /** And what it has to remember is not known either. */
    public $is_lost = false;
    public $kind = '';
    public $started = null;
    public $last = [];
    private $journal;
    private $memory;
    private $is_behind = false;
    private $marker;
    private $shown = 0.0;
    private $looked = 0.0;
    private $spent = 0.0;

    public static function create(Request $request, $kind)
    {
        // Ids sort by time, also of two operations that began within one second.
        $newest = substr((string) (scandir($request->folder . '/ops', SCANDIR_SORT_DESCENDING)[0] ?? ''), 0, 16);
        $id = later_id($newest) . '-' . $kind . '-' . random_hex(6);
        $folder = $request->folder . '/ops/' . $id;
        make_folder($folder);
        try {
            // Apart, so that they go when it ends: whoever recovers it needs them, and nobody afterwards.
            $request->get('credentials') === null || write_durably($folder . '/credentials', json($request->get('credentials')));
            write_durably($folder . '/request', json(array_diff_key($request->fields, ['credentials' => 1])));
        } catch (Failure $e) {
            remove_tree($folder);
            throw $e;
        }
        return self::load($folder);
    }

    public static function load($folder)
    {
        $self = new self();
        $self->folder = $folder;
        $self->id = basename($folder);
        $self->kind = explode('-', $self->id)[1] ?? '';
        $fields = json_decode((string) @file_get_contents($folder . '/request'), true);
        if (!is_array($fields)) {
            throw new Failure('no_operation', "the operation {$self->id} has no request", 'look at modoseru operations');
        }
        $given = json_decode((string) @file_get_contents($folder . '/credentials'), true);
        $self->request = new Request(($given === null ? [] : ['credentials' => $given]) + $fields);
        $self->journal = new Journal($folder . '/journal');
        $self->memory = new Journal($folder . '/memory');
        $self->refresh();
        return $self;
    }

    /** What the journal says now: another process may have written since. */
    public function refresh()
    {
        $this->forget();
        // In this order: of all that is written at once, the journal is the first.
        $ended = checked_object((string) @file_get_contents($this->folder . '/finished'), 0);
        $kept = iterator_to_array($this->memory->lines(), false);
        $known = 0;
        foreach ($this->journal->lines() as $event) {
            $is_state = ($event['type'] ?? '') === '_state';
            if (!$is_state && ($event['line'] ?? -1) !== $this->line && $this->journal->is_checked()) {
                $this->journal->is_damaged = true;
                break;
            }
            $this->replay($event);
            $known += $is_state;
        }
        $this->is_behind = $this->memory->is_damaged || count($kept) < $known;
        if ($this->journal->is_damaged || count($kept) > $known || ($ended && $this->outcome === null)) {
            $this->know_only($this->is_behind ? [] : $kept, $ended);
        }
    }

    private function know_only(array $kept, $ended)
    {
        $this->forget();
        $this->is_damaged = true;
        $this->is_lost = $this->is_behind;
        foreach ($kept as $event) {
            $this->replay($event);
        }
        $ended && $this->replay($ended);
        $this->started = gmdate('Y-m-d\TH:i:s\Z', strtotime(strtok($this->id, '-')));
    }

    private function forget()
    {
        $this->state = $this->last = [];
        $this->line = 0;
        $this->outcome = $this->asked = $this->answered = $this->started = null;
        $this->is_damaged = $this->is_lost = $this->journal->is_damaged = $this->memory->is_damaged = false;
    }

    /** Its process may just be waiting for the lock: it is nobody's to recover yet. */
    public function is_young()
    {
        return !$this->is_damaged && $this->started === null && time() - (int) @filemtime($this->folder . '/request') < 30;
    }

    public static function find(Request $request, $id)
    {
        $folder = $request->folder . '/ops/' . $id;
        if (!preg_match('/^\d{8}T\d{6}Z-[a-z]{2,12}-[0-9a-f]{6}$/', $id) || !is_dir($folder)) {
            throw new Failure('no_operation', "there is no operation $id on this site", 'see modoseru operations ' . $request->site);
        }
        return self::load($folder);
    }

    /** All of the site's, newest first. One whose request cannot be read can be nobody's work any more. */
    public static function all(Request $request)
    {
        $found = [];
        foreach (@scandir($request->folder . '/ops', SCANDIR_SORT_DESCENDING) ?: [] as $name) {
            if (preg_match('/^\d{8}T\d{6}Z-/', $name) && is_file($request->folder . "/ops/$name/request")) {
                try {
                    $found[] = self::load($request->folder . '/ops/' . $name);
                } catch (Failure $e) {
                    continue;
                }
            }
        }
        return $found;
    }

    /** The events from a place in the journal on; `$end` is the place behind the last of them. */
    public function lines($offset = 0, &$end = 0)
    {
        foreach ($this->journal->lines($offset, $end) as $event) {
            yield $event;
        }
    }

    /** The journal is begun anew from what is known for sure; the damaged one stays beside it. */
    private function mend()
    {
        $at = ['at' => now_text()];
        $events = [['type' => 'started', 'at' => $this->started, 'line' => 0, 'operation' => $this->id, 'site' => $this->request->site, 'kind' => $this->kind],
            ['type' => 'note'] + $at + ['line' => 1, 'code' => 'journal', 'text' => $this->is_lost ? 'the journal and its second copy were damaged'
                : 'the journal was damaged and is begun anew from its second copy', 'level' => 'warning', 'item' => null]];
        foreach ($this->state as $key => $value) {
            $events[] = ['type' => '_state'] + $at + ['key' => $key, 'value' => $value];
        }
        if ($this->outcome !== null) {
            $events[] = ['line' => 2] + $this->last;
        }
        @rename($this->journal->path, $this->journal->path . '.damaged');
        $this->journal->replace($events);
        $this->is_behind = true;
        $this->catch_up();
    }

    private function catch_up()
    {
        $states = [];
        foreach ($this->journal->lines() as $event) {
            $event['type'] === '_state' && $states[] = $event;
        }
        $this->memory->replace($states);
        $this->refresh();
    }

    private function replay(array $event)
    {
        $type = $event['type'];
        if ($type === '_state') {
            $this->state[$event['key']] = $event['value'];
            return;
        }
        $this->line = $event['line'] + 1;
        $this->last = $event;
        if ($type === 'started') {
            $this->started = $event['at'];
        } elseif ($type === 'asked') {
            $this->asked = $event;
            $this->answered = null;
        } elseif ($type === 'answered') {
            $this->asked = null;
            $this->answered = $event;
        } elseif ($type === 'finished') {
            $this->outcome = $event['outcome'];
        }
    }

    /** Also speaks to `$marker`'s client, where the host lets nothing live detached. */
    public function attach($marker)
    {
        $this->marker = $marker;
    }

    private function append(array $event, $durable = true)
    {
        if ($this->is_damaged) {
            $this->mend();
        } elseif ($this->is_behind) {
            $this->catch_up();
        }
        $event = ['type' => $event['type'], 'at' => now_text()] + $event;
        $end = $this->journal->append($event, $durable);
        if ($event['type'] === '_state') {
            try {
                $this->memory->append($event, true);
            } catch (Failure $e) {
                $this->journal->cut($end);
                throw $e;
            }
        }
        $this->replay($event);
        if ($this->marker && $event['type'][0] !== '_') {
            say($this->marker, ['event' => $event]);
        }
    }

    private function event($type, array $fields, $durable = true)
    {
        $this->is_damaged && $this->mend();
        $this->append(['type' => $type, 'line' => $this->line] + $fields, $durable);
    }

    public function begin()
    {
        $this->event('started', ['operation' => $this->id, 'site' => $this->request->site, 'kind' => $this->kind]);
    }

    public function remember($key, $value)
    {
        $this->append(['type' => '_state', 'key' => $key, 'value' => $value]);
    }

    public function recall($key, $default = null)
    {
        return array_key_exists($key, $this->state) ? $this->state[$key] : $default;
    }

    public function step($name)
    {
        $this->checkpoint(true);
        $this->shown = 0.0;
        $this->event('step', ['name' => $name]);
    }

    /** At most five lines a second; also where a long loop notices a cancel and keeps to its share of the processor. */
    public function progress($done, $total, $unit)
    {
        $this->checkpoint();
        $now = microtime(true);
        if ($now - $this->shown >= 0.2 || $done === $total) {
            $this->shown = $now;
            $this->event('progress', ['done' => $done, 'total' => $total, 'unit' => $unit], false);
        }
    }

    public function note($word, $text, $level = 'info', $item = null)
    {
        $this->event('note', ['code' => $word, 'text' => $text, 'level' => $level, 'item' => $item]);
    }

    public function finish($outcome, $detail = '', array $more = [])
    {
        // A backup that failed has made none, whatever id it was going to have.
        $more += in_array($this->kind, ['restore', 'undo', 'drill', 'verify', 'runtime'], true) ? ['generation' => $this->recall('generation')] : [];
        $this->event('finished', ['outcome' => $outcome, 'detail' => $detail] + $more);
        $this->put_away();
    }

    private function put_away()
    {
        @unlink($this->folder . '/credentials');
        remove_tree($this->folder . '/database');
        @file_put_contents($this->folder . '/finished', checked_line($this->last, 0));
    }

    /** Those that run, wait, or were left behind, newest first; the others' journals are not read for it. */
    public static function unfinished(Request $request)
    {
        $found = [];
        foreach (@scandir($request->folder . '/ops', SCANDIR_SORT_DESCENDING) ?: [] as $name) {
            $folder = $request->folder . '/ops/' . $name;
            if (preg_match('/^\d{8}T\d{6}Z-/', $name) && !is_file("$folder/finished") && is_file("$folder/request")) {
                $operation = self::load($folder);
                if ($operation->outcome === null) {
                    $found[] = $operation;
                } else {
                    $operation->put_away();  // its process died over that
                }
            }
        }
        return $found;
    }

    /** The journals of old operations go, so that looking at the site stays quick; what can be undone stays. */
    public static function forget_old(Request $request, $keep = 50)
    {
        foreach (array_slice(self::all($request), $keep) as $operation) {
            if ($operation->outcome !== null && !is_file($operation->folder . '/left-tables') && ($operation->recall('phase') !== 'done' || $operation->recall('forgotten'))) {
                remove_tree($operation->folder);
            }
        }
    }

    public function checkpoint($always = false)
    {
        $now = microtime(true);
        if (!$always && $now - $this->looked < 0.1) {
            return;
        }
        $share = (float) $this->request->get('cpu', 1.0);
        if ($share < 1.0 && $this->looked) {
            usleep((int) (1e6 * min(2.0, ($now - $this->looked) * (1 / max(0.05, $share) - 1))));
        }
        $this->looked = microtime(true);
        Lock::keep();
        clearstatcache(true, $this->folder . '/cancel');
        if (file_exists($this->folder . '/cancel') && $this->recall('phase') === null) {
            throw new Cancelled('cancelled by an operator');
        }
    }

    /**
     * Asks whoever follows to look from outside, and waits.
     * Returns [keep, detail], or null where nobody answered within `$seconds`.
     */
    public function ask($subject, $token, $item, $seconds)
    {
        $number = $this->recall('questions', 0) + 1;
        $this->remember('questions', $number);
        $expect = $this->request->get('expect');
        $this->event('asked', ['number' => $number, 'subject' => $subject, 'token' => $token, 'item' => $item,
            'expect' => is_array($expect) ? $expect : null]);
        for ($until = microtime(true) + $seconds; microtime(true) < $until; usleep(50000)) {
            $answer = $this->answer($number);
            if ($answer) {
                return $answer;
            }
            clearstatcache(true, $this->folder . '/cancel');
            if (file_exists($this->folder . '/cancel')) {
                return $this->settle($number, false, 'cancelled by an operator');
            }
        }
        return null;
    }

    /** The answer to question `$number`, noted in the journal when it is first read. */
    public function answer($number)
    {
        $file = $this->folder . '/answer-' . $number;
        clearstatcache(true, $file);
        $answer = is_file($file) ? json_decode((string) file_get_contents($file), true) : null;
        return is_array($answer) ? $this->settle($number, !empty($answer['keep']), (string) ($answer['detail'] ?? '')) : null;
    }

    public function settle($number, $keep, $detail)
    {
        if (!empty($this->asked['token'])) {
            take_page_away($this);
        }
        $this->event('answered', ['number' => $number, 'keep' => $keep, 'detail' => $detail]);
        return [$keep, $detail];
    }

    /** Its staged copy is looked at and dropped, and never takes the live site's place. */
    public function rehearses()
    {
        return $this->kind === 'drill' || $this->kind === 'runtime';
    }

    public function cancel_asked()
    {
        return file_exists($this->folder . '/cancel');
    }

    public function as_record($alive)
    {
        $state = $this->outcome !== null ? 'finished' : ($alive ? 'running' : ($this->asked ? 'waiting' : 'orphaned'));
        return ['operation' => $this->id, 'kind' => $this->kind, 'state' => $state, 'outcome' => $this->outcome,
            'generation' => $this->last['generation'] ?? $this->recall('generation'), 'started' => $this->started,
            'detail' => $this->outcome !== null ? ($this->last['detail'] ?? '') : '', 'whole' => (bool) $this->recall('whole')];
    }
}
