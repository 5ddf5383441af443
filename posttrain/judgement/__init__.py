"""Judges what a model makes of held-out captions: is it the sound asked for, is it like the real.

held-out captions ─► sounds of each row ─► right class and words (`adherence`)
   (`held_out_prompts`)  (`rows`)       ├► distance to drawn sounds, variety (`frechet`)
                                        └► results.json, README.md, plots, a page to listen to
"""
