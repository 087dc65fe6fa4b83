<?php
// One operation of a site: its folder, its append-only journal, its questions.

/** The journal is the only truth about an operation; lines whose type starts with "_" are the agent's own memory. */
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
    public $kind = '';
    public $started = null;
    public $last = [];
    private $journal = null;
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
        $self->refresh();
        return $self;
    }

    /** What the journal says now: another process may have written since. */
    public function refresh()
    {
        $this->state = $this->last = [];
        $this->line = 0;
        $this->outcome = $this->asked = $this->answered = $this->started = null;
        foreach ($this->lines() as $event) {
            $this->replay($event);
        }
    }

    /** Its process may just be waiting for the lock: it is nobody's to recover yet. */
    public function is_young()
    {
        return $this->started === null && time() - (int) @filemtime($this->folder . '/request') < 30;
    }

    public static function find(Request $request, $id)
    {
        $folder = $request->folder . '/ops/' . $id;
        if (!preg_match('/^\d{8}T\d{6}Z-[a-z]{2,12}-[0-9a-f]{6}$/', $id) || !is_dir($folder)) {
            throw new Failure('no_operation', "there is no operation $id on this site", 'see modoseru operations ' . $request->site);
        }
        return self::load($folder);
    }

    /** All of the site's, newest first. */
    public static function all(Request $request)
    {
        $found = [];
        foreach (@scandir($request->folder . '/ops', SCANDIR_SORT_DESCENDING) ?: [] as $name) {
            if (preg_match('/^\d{8}T\d{6}Z-/', $name) && is_file($request->folder . "/ops/$name/request")) {
                $found[] = self::load($request->folder . '/ops/' . $name);
            }
        }
        return $found;
    }

    /** Whole lines only: a torn last one is what a killed process left, and stands for nothing. */
    public function lines($offset = 0, &$end = 0)
    {
        $handle = @fopen($this->folder . '/journal', 'rb');
        if (!$handle) {
            return;
        }
        fseek($handle, $offset);
        $end = $offset;
        while (($text = fgets($handle)) !== false) {
            if (substr($text, -1) !== "\n") {
                break;
            }
            $end = ftell($handle);
            $event = json_decode($text, true);
            if (is_array($event)) {
                yield $event;
            }
        }
        fclose($handle);
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
        if (!$this->journal) {
            $this->journal = @fopen($this->folder . '/journal', 'ab');
            if (!$this->journal) {
                throw new Failure('no_state', 'cannot write the journal: ' . last_error('unknown reason'), 'look at the disk and its permissions');
            }
            if ($size = fstat($this->journal)['size']) {
                $bytes = file_get_contents($this->folder . '/journal', false, null, $size - 1);
                if ($bytes !== "\n") {
                    fwrite($this->journal, "\n");
                }
            }
        }
        $event = ['type' => $event['type'], 'at' => now_text()] + $event;
        $end = fstat($this->journal)['size'];
        try {
            write_all($this->journal, json($event) . "\n", 'the journal');
        } catch (Failure $e) {
            // Half a line would swallow the next one, which says how it ended.
            @ftruncate($this->journal, $end);
            throw $e;
        }
        if ($durable) {
            sync_handle($this->journal, $this->folder . '/journal');
        }
        $this->replay($event);
        if ($this->marker && $event['type'][0] !== '_') {
            say($this->marker, ['event' => $event]);
        }
    }

    private function event($type, array $fields, $durable = true)
    {
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
        $more += in_array($this->kind, ['restore', 'undo', 'drill', 'verify'], true) ? ['generation' => $this->recall('generation')] : [];
        $this->event('finished', ['outcome' => $outcome, 'detail' => $detail] + $more);
        $this->put_away();
    }

    private function put_away()
    {
        @unlink($this->folder . '/credentials');
        @touch($this->folder . '/finished');
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
