"""Judges what models make of held-out captions: is it the sound asked for, is it realistic.

held-out captions ─► sounds of each row ─► right class and words (`adherence`)
   (`held_out_prompts`)  (`rows`)       ├► distance to synthesized sounds, diversity (`frechet`)
                                        └► results.json, README.md, plots, a page to listen to
"""
