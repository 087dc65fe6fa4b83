<?php
// The operation `verify`: every byte of a generation against its summary, what no summary names, and what can be healed.

/** Every note costs an fsync; whoever has read two hundred knows enough. */
const PROBLEMS_TOLD = 200;

function operation_verify(Operation $operation)
{
    $request = $operation->request;
    $id = $request->text('generation');
    $operation->remember('generation', $id);
    $operation->step('summary');
    try {
        $generation = Generation::open($request, $id);
    } catch (Failure $e) {
        $operation->note('damaged', $e->getMessage(), 'error', 'summary.json');
        $operation->finish('rolled_back', $e->getMessage(), ['code' => 'damaged', 'hint' => 'take another generation', 'generation' => $id]);
        return;
    }
    $seal = $request->get('seal');
    $reading = new ReadBack($operation, $generation);
    $reading->heals = $seal === null || $seal === $generation->seal;
    if (!$reading->heals) {
        $reading->damaged('summary.json', 'is not the summary that was sealed');
    }
    $reading->index();
    $foreign = foreign_files($request, $generation);
    foreach (array_slice($foreign, 0, PROBLEMS_TOLD) as $path) {
        $operation->note('damaged', 'no summary names it', 'error', $path);
    }
    $operation->step('packs');
    $reading->packs();
    $operation->step('content');
    $reading->content();
    $problems = $reading->left();
    $damage = Damage::of($request);
    $damage->record($generation, (bool) $problems, $reading->lost, array_column($generation->summary['packs'], 'id'));
    if ($problems) {
        @unlink($generation->folder . '/verified');
    } else {
        write_durably($generation->folder . '/verified', now_text());
    }
    $more = ['generation' => $id, 'summary' => $generation->seal];
    $count = count($problems) + count($foreign);
    if ($count) {
        $first = $problems ? key($problems) . ' ' . current($problems) : "no summary names {$foreign[0]}";
        $operation->finish('rolled_back', $first . ($count > 1 ? ', and ' . ($count - 1) . ' more' : ''), $more + ['code' => 'damaged',
            'hint' => $problems ? 'take another generation' : 'look at who put it there, then remove it']);
        return;
    }
    $operation->finish('done', $reading->healed ? 'whole again: ' . implode(', ', array_keys($reading->healed)) . ' healed' : 'whole: every byte was read back', $more);
}

/** What lies among the generations and packs of a site and is named by no summary. Nobody may tell where one cannot be read. */
function foreign_files(Request $request, Generation $generation)
{
    $found = [];
    $known = '/^(?:manifest|summary\.json|database\.sql\.gz|RESTORE\.txt|(?:verified|pinned|mark)(?:\.part)?)$/D';
    foreach (@scandir($generation->folder) ?: [] as $name) {
        if ($name !== '.' && $name !== '..' && !preg_match($known, $name)) {
            $found[] = escape_path("generations/{$generation->id}/$name");
        }
    }
    $needed = needed_packs($request);
    foreach ($needed === null ? [] : (@scandir($request->folder . '/packs') ?: []) as $name) {
        if ($name !== '.' && $name !== '..' && !isset($needed[(string) preg_replace('/\.tar$/D', '', $name)])) {
            $found[] = escape_path("packs/$name");
        }
    }
    foreach (@scandir($request->folder . '/generations') ?: [] as $name) {
        if ($name !== '.' && $name !== '..' && !moment_of($name)) {
            $found[] = escape_path("generations/$name");
        }
    }
    return $found;
}

/** One generation read back, part by part; what is wrong is told as it is found. */
final class ReadBack
{
    /** Whether what is damaged may be healed; not towards a summary that is another than the sealed one. */
    public $heals = false;
    /** Paths that were healed, as keys. */
    public $healed = [];
    /** Packs that are not what was sealed and could not be healed, as keys. */
    public $lost = [];
    private $operation;
    private $generation;
    private $problems = [];
    private $missing = [];

    public function __construct(Operation $operation, Generation $generation)
    {
        $this->operation = $operation;
        $this->generation = $generation;
    }

    /** All of it, in one go and without a word; returns path => what is wrong. */
    public function all()
    {
        $this->index(false);
        $this->packs(false);
        if (!$this->problems) {
            $this->content(false);
        }
        return $this->left();
    }

    /** What is wrong and was not healed, path => what. */
    public function left()
    {
        return array_diff_key($this->problems, $this->healed);
    }

    public function damaged($path, $what, $tell = true)
    {
        if (isset($this->problems[$path])) {
            return;
        }
        if ($tell && count($this->problems) === PROBLEMS_TOLD) {
            $this->operation->note('more', 'more is damaged than is told here', 'error');
        }
        if (count($this->problems) < 10 * PROBLEMS_TOLD) {
            $tell && count($this->problems) < PROBLEMS_TOLD && $this->operation->note('damaged', $what, 'error', $path);
            $this->problems[$path] = $what;
        }
    }

    private function healed($path, $how)
    {
        $this->healed[$path] = true;
        $this->operation->note('healed', $how, 'info', $path);
    }

    /** Manifest, dump and recipe. */
    public function index($tell = true)
    {
        $summary = $this->generation->summary;
        $parts = ['manifest' => $summary['manifest'], 'database.sql.gz' => $summary['dump']];
        if (isset($summary['recipe']['size'], $summary['recipe']['sha256'])) {
            $parts['RESTORE.txt'] = $summary['recipe'];
        }
        $done = 0;
        $total = array_sum(array_column($parts, 'size'));
        foreach ($parts as $name => $part) {
            $what = $this->compare($this->generation->folder . '/' . $name, $part);
            // Another release may have worded it otherwise: nobody keeps a copy of it off-site.
            if ($what !== null && !($name === 'RESTORE.txt' && $this->generation->has_recipe())) {
                $this->damaged($name, $what, $tell);
                if ($name === 'RESTORE.txt' && $this->heals) {
                    write_durably($this->generation->folder . '/RESTORE.txt', restore_by_hand($summary), 0400);
                    $this->healed($name, 'was written again from the summary');
                }
            }
            $this->operation->progress($done += $part['size'], $total, 'bytes');
        }
    }

    /** What is wrong with a file, or null. */
    private function compare($path, array $part)
    {
        clearstatcache(true, $path);
        $size = is_file($path) && !is_link($path) ? @filesize($path) : false;
        if ($size === false) {
            return 'is gone';
        }
        if ($size !== $part['size']) {
            return $size > $part['size'] ? 'is longer than what was sealed' : 'is shorter than what was sealed';
        }
        try {
            $hash = file_sha256($path, [$this->operation, 'checkpoint']);
        } catch (Failure $e) {
            return $e->getMessage();
        }
        return $hash === $part['sha256'] ? null : 'has other bytes than what was sealed';
    }

    public function packs($tell = true)
    {
        $done = 0;
        $total = array_sum(array_column($this->generation->summary['packs'], 'size'));
        foreach ($this->generation->summary['packs'] as $pack) {
            $path = "{$this->generation->packs}/{$pack['id']}.tar";
            $name = "packs/{$pack['id']}.tar";
            $what = $this->compare($path, $pack);
            if ($what !== null) {
                $this->damaged($name, $what, $tell);
                if ($this->heals && (new PackHealer($this->operation, $pack))->heal()) {
                    $this->healed($name, 'was rebuilt byte for byte from the live files and other packs');
                } else {
                    $this->lost[$pack['id']] = true;
                    $this->missing += is_file($path) ? [] : [$pack['id'] => true];
                }
            }
            $this->operation->progress($done += $pack['size'], $total, 'bytes');
        }
        $this->operation->progress($done, $done, 'bytes');
    }

    /** That the manifest points at what it names, and that the dump has its tables, shows only by reading each of them. */
    public function content($tell = true)
    {
        $summary = $this->generation->summary;
        $total = $summary['counts']['bytes'] + $summary['dump']['plain'];
        $done = 0;
        $reader = new PackReader($this->generation->packs);
        try {
            foreach ($this->generation->manifest() as $entry) {
                if ($entry->type !== 'f' || isset($this->missing[$entry->pack])) {
                    continue;
                }
                try {
                    $reader->copy($entry, null);
                } catch (Failure $e) {
                    $this->damaged(escape_path($entry->path), "is damaged in the pack {$entry->pack}", $tell);
                }
                $this->operation->progress(min($total, $done += $entry->size), $total, 'bytes');
            }
        } catch (Failure $e) {
            $this->damaged('manifest', $e->getMessage(), $tell);
        }
        $dump = @fopen($this->generation->folder . '/database.sql.gz', 'rb');
        foreach ($dump ? $summary['tables'] : [] as $part) {
            try {
                foreach (dump_part($dump, $part) as $statement) {
                    $this->operation->checkpoint();
                }
            } catch (Failure $e) {
                $this->damaged("database.sql.gz/{$part['name']}", $e->getMessage() . '; no other copy of a dump exists on this server', $tell);
            }
            $this->operation->progress(min($total, $done += $part['size']), $total, 'bytes');
        }
        $this->operation->progress($done, $done, 'bytes');
    }
}

/** What was found damaged and could not be healed, until it reads back whole: packs and generations, by id. */
final class Damage
{
    private $path;
    private $packs = [];
    private $generations = [];

    public static function of(Request $request)
    {
        $self = new self();
        $self->path = $request->folder . '/damage.json';
        $kept = json_decode((string) @file_get_contents($self->path), true);
        foreach (['packs', 'generations'] as $kind) {
            $self->$kind = is_array($kept[$kind] ?? null) ? array_filter($kept[$kind], 'is_string') : [];
        }
        return $self;
    }

    public function has_pack($id)
    {
        return isset($this->packs[$id]);
    }

    /** A generation that itself, or one of whose packs, is damaged. */
    public function spoils(Generation $generation)
    {
        return isset($this->generations[$generation->id])
            || ($this->packs && array_intersect_key($this->packs, array_flip(array_column($generation->summary['packs'], 'id'))));
    }

    /** What a read-back of `$generation` found: `$lost` of its packs `$read`. */
    public function record(Generation $generation, $damaged, array $lost, array $read)
    {
        $before = [$this->packs, $this->generations];
        $this->packs = array_diff_key($this->packs, array_flip($read)) + array_fill_keys(array_keys($lost), now_text());
        unset($this->generations[$generation->id]);
        if ($damaged) {
            $this->generations[$generation->id] = now_text();
        }
        if ($before !== [$this->packs, $this->generations]) {
            write_durably($this->path, json(['packs' => (object) $this->packs, 'generations' => (object) $this->generations]));
        }
    }
}
