<?php
// Where a site's WordPress lies and what its wp-config.php says, without booting it.

/** The folders and the database of one installation. */
final class Installation
{
    public $root;
    public $abspath;
    public $config_file;
    public $settings = [];
    public $prefix = 'wp_';

    /** The folders and what wp-config.php says. Throws no_root, no_wordpress, no_config. */
    public static function find(Request $request)
    {
        $self = self::find_bare($request);
        $self->read_config();
        return $self;
    }

    /** The folders alone; wp-config.php is not run. Throws no_root, no_wordpress, no_config. */
    public static function find_bare(Request $request)
    {
        $self = new self();
        $self->root = $request->root;
        if (!is_dir($self->root)) {
            throw new Failure('no_root', "the document root {$request->root} does not exist on the server",
                'correct [server] root in the site\'s file, or restore a generation');
        }
        $self->abspath = self::abspath_below($self->root);
        if ($self->abspath === null) {
            throw new Failure('no_wordpress', "there is no WordPress in {$self->root}", 'correct [server] root, or restore a generation');
        }
        $self->config_file = self::config_of($self->abspath);
        if ($self->config_file === null) {
            throw new Failure('no_config', "there is no wp-config.php in {$self->abspath} or above it", 'restore the files of a generation');
        }
        return $self;
    }

    /** From a wp-config.php that lies elsewhere for the moment. */
    public static function from_config($file, $root)
    {
        $self = new self();
        $self->root = $self->abspath = $root;
        $self->config_file = $file;
        $self->read_config();
        return $self;
    }

    /** From the text that the wp-config.php at `$file` would have: its own places stay what they are. */
    public static function from_source($source, $file, $abspath)
    {
        $self = new self();
        $self->root = $self->abspath = $abspath;
        $self->config_file = $file;
        $self->read_config($source);
        return $self;
    }

    /** The same with other values of some settings. */
    public function with_settings(array $settings)
    {
        $other = clone $this;
        $other->settings = $settings + $this->settings;
        return $other;
    }

    /** WordPress may live in a folder of its own that index.php names. */
    private static function abspath_below($root)
    {
        if (is_file($root . '/wp-load.php')) {
            return $root;
        }
        $index = (string) @file_get_contents($root . '/index.php', false, null, 0, 8192);
        if (preg_match('~[\'"]/?([A-Za-z0-9._/-]+)/wp-blog-header\.php~', $index, $found)
            && strpos($found[1], '..') === false && is_file("$root/{$found[1]}/wp-load.php")) {
            return $root . '/' . trim($found[1], '/');
        }
        return null;
    }

    /** wp-load.php looks one level up only where no other WordPress lies there. */
    private static function config_of($abspath)
    {
        if (is_file($abspath . '/wp-config.php')) {
            return $abspath . '/wp-config.php';
        }
        $above = dirname($abspath);
        return is_file($above . '/wp-config.php') && !is_file($above . '/wp-settings.php') ? $above . '/wp-config.php' : null;
    }

    /** In a process of its own: the site's code may exit, echo or fail. */
    private function read_config($source = null)
    {
        $marker = random_hex(16);
        $source = $source === null ? [] : ['source' => base64_encode($source)];
        $input = json(['marker' => $marker, 'file' => $this->config_file, 'abspath' => $this->abspath] + $source);
        list($status, $out, $err) = run(myself('config'), $input, 20);
        $at = strrpos($out, "\n$marker ");
        $answer = $at === false ? null : json_decode(trim(substr($out, $at + strlen($marker) + 2)), true);
        if (!is_array($answer)) {
            throw new Failure('no_config', "{$this->config_file} cannot be read by PHP: " . trim(substr($err, -300)),
                'restore the files of a generation');
        }
        $this->settings = $answer['constants'];
        $this->prefix = $answer['prefix'];
    }

    public function setting($name, $default = null)
    {
        return isset($this->settings[$name]) ? $this->settings[$name] : $default;
    }

    public function content()
    {
        return rtrim($this->setting('WP_CONTENT_DIR', $this->abspath . '/wp-content'), '/');
    }

    public function plugins()
    {
        return rtrim($this->setting('WP_PLUGIN_DIR', $this->content() . '/plugins'), '/');
    }

    public function uploads()
    {
        $uploads = $this->setting('UPLOADS');
        return $uploads ? rtrim($this->abspath, '/') . '/' . trim($uploads, '/') : $this->content() . '/uploads';
    }

    /**
     * The trees and files that make up the site, by name: `root`, and whatever lies outside it.
     * The names are the first part of every path in a manifest; their order is that of their bytes.
     */
    public function areas()
    {
        $areas = ['root' => $this->root];
        $root = realpath($this->root) ?: $this->root;
        if ($this->config_file !== null && !self::below($this->config_file, $this->root)) {
            $areas['config'] = $this->config_file;
        }
        foreach (['content' => $this->content(), 'plugins' => $this->plugins(), 'uploads' => $this->uploads()] as $name => $path) {
            $real = realpath($path);
            if ($real === false || self::below($real, $root)) {
                continue;
            }
            foreach ($areas as $other) {
                if (self::below($real, realpath($other) ?: $other)) {
                    continue 2;
                }
            }
            $areas[$name] = $real;
        }
        ksort($areas, SORT_STRING);
        return $areas;
    }

    public static function below($path, $folder)
    {
        return $path === $folder || strncmp($path, rtrim($folder, '/') . '/', strlen(rtrim($folder, '/')) + 1) === 0;
    }
}

/** The child of `read_config`: runs wp-config.php with the boot of WordPress taken out of it. */
function answer_config($input)
{
    $asked = json_decode($input, true);
    $source = isset($asked['source']) ? base64_decode($asked['source']) : (string) file_get_contents($asked['file']);
    $code = without_boot($source, $asked['file']);
    if (!defined('ABSPATH') && strpos($code, 'ABSPATH') === false) {
        define('ABSPATH', $asked['abspath'] . '/');
    }
    ob_start();
    $prefix = evaluate_config($code);
    ob_end_clean();
    $constants = array_filter(get_defined_constants(true)['user'] ?? [], 'is_scalar');
    $wanted = ['DB_NAME', 'DB_USER', 'DB_PASSWORD', 'DB_HOST', 'DB_CHARSET', 'DB_COLLATE', 'WP_CONTENT_DIR', 'WP_PLUGIN_DIR', 'WPMU_PLUGIN_DIR',
        'UPLOADS', 'CUSTOM_USER_TABLE', 'CUSTOM_USER_META_TABLE', 'MULTISITE', 'DISALLOW_FILE_MODS', 'MYSQL_CLIENT_FLAGS',
        'WP_HOME', 'WP_SITEURL', 'WP_DEBUG', 'WP_DEBUG_LOG'];
    say($asked['marker'], ['constants' => array_intersect_key($constants, array_flip($wanted)), 'prefix' => $prefix]);
}

function evaluate_config($code)
{
    $table_prefix = 'wp_';
    eval('?>' . $code);
    return isset($table_prefix) && is_string($table_prefix) ? $table_prefix : 'wp_';
}

/** The source without the statement that includes wp-settings.php, and with __FILE__ and __DIR__ as they were. */
function without_boot($source, $file)
{
    if (!function_exists('token_get_all')) {
        return preg_replace('/^.*(require|include)(_once)?\b[^;]*wp-settings\.php[^;]*;/m', '', $source);
    }
    $out = '';
    $statement = null;
    foreach (token_get_all($source) as $token) {
        $text = is_array($token) ? $token[1] : $token;
        $kind = is_array($token) ? $token[0] : null;
        if ($kind === T_FILE || $kind === T_DIR) {
            $text = var_export($kind === T_FILE ? $file : dirname($file), true);
        }
        if ($statement === null && in_array($kind, [T_REQUIRE, T_REQUIRE_ONCE, T_INCLUDE, T_INCLUDE_ONCE], true)) {
            $statement = '';
        }
        if ($statement === null) {
            $out .= $text;
            continue;
        }
        $statement .= $text;
        if ($text === ';' || $kind === T_CLOSE_TAG) {
            $out .= strpos($statement, 'wp-settings.php') === false ? $statement : ($text === ';' ? ';' : $text);
            $statement = null;
        }
    }
    return $out . (string) $statement;
}
